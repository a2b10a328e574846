"""Builds the OpenAPI 3.1 description from the routes and their models. A test compares it with docs/openapi.json."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from flask import Flask, Response, current_app, jsonify
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from werkzeug.routing import Rule

from tenants.api.authentication import bp, without_key
from tenants.api.route_spec import RouteSpec, route_spec, spec_of

REF = "#/components/schemas/{model}"
SAFE = ("get",)
DESCRIPTIONS = {
    200: "OK.", 201: "Created.", 204: "Done. The response has no body.", 400: "The request is malformed.",
    401: "The key or token is missing or not valid.", 403: "The key or token is read-only, or the business is archived.",
    404: "The object does not exist, or belongs to another business.",
    409: "The object's state does not allow this, or the same request is still being processed.",
    410: "The object is archived.", 413: "The request body is too large.",
    422: "Some values are not accepted. `fields` maps each of them to the reason.",
    429: "The rate limit is exceeded.", 503: "The payment provider is not available.",
}  # fmt: skip
CUSTOMER_API = "customer_api"
SECURITY = {
    "key": {"type": "http", "scheme": "bearer", "description": "An API key of the business."},
    "token": {"type": "http", "scheme": "bearer", "description": "A token of a customer or a person: docs/customer-api.md."},
}
_FILES = {"pdf": "application/pdf", "png": "image/png"}


class Error(BaseModel):
    """An error. `code` is stable and meant for programs, `message` is for people. `fields` maps each refused field to the reason."""

    code: str
    message: str
    fields: dict[str, str] | None = None


class OpenApiDocument(BaseModel):
    """An OpenAPI 3.1 document."""

    openapi: str
    info: dict[str, Any]
    paths: dict[str, Any]


@bp.get("/openapi.json", endpoint="description")
@without_key
@route_spec(OpenApiDocument)
def description() -> Response:
    """Return this description as JSON. No API key is needed."""
    extensions = current_app.extensions
    if "api description" not in extensions:  # routes do not change while the process runs
        extensions["api description"] = describe(current_app)
    answer = jsonify(extensions["api description"])
    answer.headers["Cache-Control"] = "public, max-age=300"
    return answer


def describe(app: Flask) -> dict[str, Any]:
    """Return the whole document, which is the same for every deployment. Raises LookupError for a route without a RouteSpec."""
    routes = list(_routes(app))
    schemas, names = _schemas([spec for _, _, spec in routes])
    paths: dict[str, Any] = {}
    for rule, method, spec in routes:
        paths.setdefault(_path(rule), {})[method] = _operation(app, rule, method, spec, names)
    _add_links(paths, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Customer portal", "version": "1", "description": "Compatible with the Dodo Payments API. See docs/api.md."},
        "servers": [{"url": "/api"}],
        "security": [{"key": []}],
        "paths": paths,
        "components": {"securitySchemes": SECURITY, "schemas": schemas},
    }


def _routes(app: Flask) -> Iterator[tuple[Rule, str, RouteSpec]]:
    for rule in sorted(app.url_map.iter_rules(), key=lambda iter_rule: iter_rule.rule):
        if rule.endpoint.split(".")[0] in (bp.name, CUSTOMER_API):
            for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
                yield rule, method.lower(), spec_of(app.view_functions[rule.endpoint])


def _schemas(specs: list[RouteSpec]) -> tuple[dict[str, Any], dict[Any, Any]]:
    """Return every model's schema by name, and the reference to it by (model, mode)."""
    wanted: list[Any] = [(Error, "serialization")]
    for item in specs:
        wanted += [(item.response, "serialization")] if item.response else []
        wanted += [(item.body, "validation")] if item.body else []
    refs, definitions = models_json_schema(list(dict.fromkeys(wanted)), ref_template=REF)
    return _sorted(definitions["$defs"]), dict(refs)


def _operation(app: Flask, rule: Rule, method: str, spec: RouteSpec, names: dict[Any, Any]) -> dict[str, Any]:
    view = app.view_functions[rule.endpoint]
    is_open = bool(getattr(view, "_without_key", False))
    door, name = rule.endpoint.split(".")
    of_customer = door == CUSTOMER_API
    out: dict[str, Any] = {
        "operationId": f"portal_{name}" if of_customer else name,
        "summary": name.replace("_", " "),
        "tags": [rule.rule.split("/")[2]],
    }
    if view.__doc__:
        out["description"] = " ".join(view.__doc__.split())
    parameters = [{"name": item, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}} for item in _named(rule)]
    parameters += _query(spec)
    if method == "post" and not is_open and not of_customer:
        parameters.append({"name": "Idempotency-Key", "in": "header", "required": False, "schema": {"type": "string", "maxLength": 255}})
    if parameters:
        out["parameters"] = parameters
    if spec.body:
        body = names[(spec.body, "validation")]
        out["requestBody"] = {"required": True, "content": {"application/json": {"schema": body}}}
    answers = {spec.status: _answer(spec, names)}
    error = {"application/json": {"schema": names[(Error, "serialization")]}}
    for status in _error_statuses(rule, method, spec, is_open):
        answers[status] = {"description": DESCRIPTIONS[status], "content": error}
    out["responses"] = {str(status): answers[status] for status in sorted(answers)}
    if is_open:
        out["security"] = []
    elif of_customer:
        out["security"] = [{"token": ["read"] if method in SAFE else ["read", "act"]}]
    return out


def _error_statuses(rule: Rule, method: str, spec: RouteSpec, is_open: bool) -> set[int]:
    out = {400, 422, 429, *spec.errors}
    if not is_open:
        out |= {401, 403}
    if rule.arguments:
        out.add(404)
    if spec.body:
        out |= {404, 413}
    if method not in SAFE and not is_open:
        out.add(409)
    return out


def _answer(spec: RouteSpec, names: dict[Any, Any]) -> dict[str, Any]:
    base = {"description": DESCRIPTIONS[spec.status]}
    if spec.form in _FILES:
        return {**base, "content": {_FILES[spec.form]: {"schema": {"type": "string", "format": "binary"}}}}
    if spec.form == "empty":
        return base
    if spec.form == "any":
        return {**base, "content": {"application/json": {"schema": {"type": "object"}}}}
    schema: dict[str, Any] = (
        {"type": "string", "pattern": "^[A-Z]{2}$"} if spec.form == "codes" else names[(spec.response, "serialization")]
    )
    if spec.form != "object":
        schema = {"type": "array", "items": schema}
    if spec.form == "items":
        schema = {"type": "object", "properties": {"items": schema}, "required": ["items"]}
    return {**base, "content": {"application/json": {"schema": schema}}}


def _query(spec: RouteSpec) -> Iterator[dict[str, Any]]:
    if spec.query is None:
        return
    schema = spec.query.model_json_schema(mode="validation")
    for name, item in sorted(schema["properties"].items()):
        kinds = [kind for kind in item.get("anyOf", [item]) if kind.get("type") != "null"]
        bare = {key: value for key, value in kinds[0].items() if key not in ("title", "default")}
        yield {"name": name, "in": "query", "required": name in schema.get("required", []), "schema": bare}


def _add_links(paths: dict[str, Any], schemas: dict[str, Any]) -> None:
    """Add OpenAPI links from each create operation to the operations on the created object. The id in the answer is their argument."""
    for path, methods in paths.items():
        answer = methods.get("post", {}).get("responses", {}).get("200") or methods.get("post", {}).get("responses", {}).get("201")
        schema = schemas.get(answer["content"]["application/json"]["schema"].get("$ref", "").split("/")[-1]) if _has_body(answer) else None
        if schema is None or "{" in path:
            continue
        for other, operations in paths.items():
            argument = other.removeprefix(path + "/{").split("}")[0] if other.startswith(path + "/{") else ""
            field = next((item for item in (argument, "id") if argument and item in schema["properties"]), None)
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
