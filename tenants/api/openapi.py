"""The API's description, OpenAPI 3.1, made from the routes and their models. Kept at docs/openapi.json; a test compares."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from flask import Flask, Response, current_app, jsonify
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from werkzeug.routing import Rule

from tenants.api.door import bp, without_key
from tenants.api.saying import Said, said_of, says

REF = "#/components/schemas/{model}"
SAFE = ("get",)
WORDS = {
    200: "Done.", 201: "Made.", 204: "Done; there is nothing to say.", 400: "It cannot be read.",
    401: "No key, or one that is not valid here.", 403: "The key may only read, or the business is archived.",
    404: "There is no such thing, or it is somebody else's.", 409: "Its state does not allow it; or a first call of this is not answered.",
    410: "It is archived.", 413: "The body is too large.", 422: "Some of what was sent cannot be used; `fields` says what.",
    429: "Too many calls.", 503: "Nobody takes the money at the moment.",
}  # fmt: skip
_FILES = {"pdf": "application/pdf", "png": "image/png"}


class Error(BaseModel):
    """`fields` maps what cannot be used to the reason."""

    code: str
    message: str
    fields: dict[str, str] | None = None


class Document(BaseModel):
    """OpenAPI 3.1."""

    openapi: str
    info: dict[str, Any]
    paths: dict[str, Any]


@bp.get("/openapi.json", endpoint="description")
@without_key
@says(Document)
def description() -> Response:
    made = current_app.extensions
    if "api description" not in made:  # routes do not change while it runs
        made["api description"] = describe(current_app)
    answer = jsonify(made["api description"])
    answer.headers["Cache-Control"] = "public, max-age=300"
    return answer


def describe(app: Flask) -> dict[str, Any]:
    """The whole document; the same for every deployment. Raises LookupError for a route that says nothing."""
    routes = list(_routes(app))
    schemas, names = _schemas([said for _, _, said in routes])
    paths: dict[str, Any] = {}
    for rule, method, said in routes:
        paths.setdefault(_path(rule), {})[method] = _operation(app, rule, method, said, names, schemas)
    _link(paths, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Customer portal", "version": "1", "description": "Compatible with the Dodo Payments API. See docs/api.md."},
        "servers": [{"url": "/api"}],
        "security": [{"key": []}],
        "paths": paths,
        "components": {"securitySchemes": {"key": {"type": "http", "scheme": "bearer"}}, "schemas": schemas},
    }


def _routes(app: Flask) -> Iterator[tuple[Rule, str, Said]]:
    for rule in sorted(app.url_map.iter_rules(), key=lambda one: one.rule):
        if rule.endpoint.split(".")[0] == bp.name:
            for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
                yield rule, method.lower(), said_of(app.view_functions[rule.endpoint])


def _schemas(said: list[Said]) -> tuple[dict[str, Any], dict[Any, Any]]:
    """Every model's schema by name, and (model, mode) → the reference to it."""
    wanted: list[Any] = [(Error, "serialization")]
    for one in said:
        wanted += [(one.gives, "serialization")] if one.gives else []
        wanted += [(one.takes, "validation")] if one.takes else []
    refs, definitions = models_json_schema(list(dict.fromkeys(wanted)), ref_template=REF)
    return _sorted(definitions["$defs"]), dict(refs)


def _operation(app: Flask, rule: Rule, method: str, said: Said, names: dict[Any, Any], schemas: dict[str, Any]) -> dict[str, Any]:
    view = app.view_functions[rule.endpoint]
    is_open = bool(getattr(view, "_without_key", False))
    name = rule.endpoint.split(".")[1]
    out: dict[str, Any] = {"operationId": name, "summary": name.replace("_", " "), "tags": [rule.rule.split("/")[2]]}
    if view.__doc__:
        out["description"] = " ".join(view.__doc__.split())
    parameters = [{"name": one, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}} for one in _named(rule)]
    parameters += _query(said)
    if method == "post" and not is_open:
        parameters.append({"name": "Idempotency-Key", "in": "header", "required": False, "schema": {"type": "string", "maxLength": 255}})
    if parameters:
        out["parameters"] = parameters
    if said.takes:
        body = names[(said.takes, "validation")]
        out["requestBody"] = {"required": True, "content": {"application/json": {"schema": body}}}
    answers = {said.status: _answer(said, names)}
    error = {"application/json": {"schema": names[(Error, "serialization")]}}
    for status in _refusals(rule, method, said, is_open):
        answers[status] = {"description": WORDS[status], "content": error}
    out["responses"] = {str(status): answers[status] for status in sorted(answers)}
    if is_open:
        out["security"] = []
    return out


def _refusals(rule: Rule, method: str, said: Said, is_open: bool) -> set[int]:
    out = {400, 422, 429, *said.refuses}
    if not is_open:
        out |= {401, 403}
    if rule.arguments:
        out.add(404)
    if said.takes:
        out |= {404, 413}
    if method not in SAFE and not is_open:
        out.add(409)
    return out


def _answer(said: Said, names: dict[Any, Any]) -> dict[str, Any]:
    words = {"description": WORDS[said.status]}
    if said.form in _FILES:
        return {**words, "content": {_FILES[said.form]: {"schema": {"type": "string", "format": "binary"}}}}
    if said.form == "nothing":
        return words
    schema: dict[str, Any] = {"type": "string", "pattern": "^[A-Z]{2}$"} if said.form == "codes" else names[(said.gives, "serialization")]
    if said.form != "one":
        schema = {"type": "array", "items": schema}
    if said.form == "items":
        schema = {"type": "object", "properties": {"items": schema}, "required": ["items"]}
    return {**words, "content": {"application/json": {"schema": schema}}}


def _query(said: Said) -> Iterator[dict[str, Any]]:
    if said.asks is None:
        return
    schema = said.asks.model_json_schema(mode="validation")
    for name, one in sorted(schema["properties"].items()):
        kinds = [kind for kind in one.get("anyOf", [one]) if kind.get("type") != "null"]
        bare = {key: value for key, value in kinds[0].items() if key not in ("title", "default")}
        yield {"name": name, "in": "query", "required": name in schema.get("required", []), "schema": bare}


def _link(paths: dict[str, Any], schemas: dict[str, Any]) -> None:
    """From what makes a thing to everything that can be done with it: the answer's id is the next path's argument."""
    for path, methods in paths.items():
        answer = methods.get("post", {}).get("responses", {}).get("200") or methods.get("post", {}).get("responses", {}).get("201")
        schema = schemas.get(answer["content"]["application/json"]["schema"].get("$ref", "").split("/")[-1]) if _has_body(answer) else None
        if schema is None or "{" in path:
            continue
        for other, operations in paths.items():
            argument = other.removeprefix(path + "/{").split("}")[0] if other.startswith(path + "/{") else ""
            field = next((one for one in (argument, "id") if argument and one in schema["properties"]), None)
            if field is None or other.count("{") > 1:
                continue
            for operation in operations.values():
                links = answer.setdefault("links", {})
                links[operation["operationId"]] = {"operationId": operation["operationId"],
                                                   "parameters": {argument: f"$response.body#/{field}"}}  # fmt: skip


def _has_body(answer: dict[str, Any] | None) -> bool:
    return bool(answer) and "application/json" in (answer or {}).get("content", {})


def _named(rule: Rule) -> list[str]:
    return [part.strip("<>").split(":")[-1].split(">")[0] for part in rule.rule.split("/") if part.startswith("<")]


def _path(rule: Rule) -> str:
    return rule.rule.removeprefix("/api").replace("<path:", "<").replace("<", "{").replace(">", "}")


def _sorted(value: Any) -> Any:
    return {key: _sorted(value[key]) for key in sorted(value)} if isinstance(value, dict) else value
