"""Checks requests and answers against Stripe's OpenAPI document (`openapi.json`, made by bin/stripe-spec)."""

from __future__ import annotations

import json
import re
from functools import cache, lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import jsonschema_rs

FILE = Path(__file__).with_name("openapi.json")


class NotInSpecification(Exception):
    """The request is not one of the document, or the stand-in gave an answer that Stripe would not give."""

    def __init__(self, message: str, param: str = ""):
        self.param = param
        super().__init__(message)


@lru_cache(maxsize=1)
def document() -> dict[str, Any]:
    found = json.loads(FILE.read_text(encoding="utf-8"))
    return _as_json_schema(found)  # type: ignore[no-any-return]


def version() -> str:
    return str(document()["info"]["version"])


def _as_json_schema(node: Any) -> Any:
    """OpenAPI 3.0 has `nullable`, and the document does not say that an object has no other fields. JSON Schema needs both said."""
    if isinstance(node, list):
        return [_as_json_schema(item) for item in node]
    if not isinstance(node, dict):
        return node
    made = {name: _as_json_schema(value) for name, value in node.items() if name != "nullable"}
    if made.get("type") == "object" and isinstance(made.get("properties"), dict):
        made.setdefault("additionalProperties", False)
    if made.get("format") in ("unix-time", "decimal", "currency"):
        del made["format"]
    return {"anyOf": [made, {"type": "null"}]} if node.get("nullable") is True else made


@lru_cache(maxsize=1)
def _routes() -> list[tuple[re.Pattern[str], str]]:
    """The paths, those without parameters first."""
    paths = sorted(document()["paths"], key=lambda path: ("{" in path, path))
    return [(re.compile(re.sub(r"\{\w+\}", "([^/]+)", path) + "$"), path) for path in paths]


def find(method: str, path: str) -> tuple[str, list[str]]:
    """Return the path of the document and the values of its parameters."""
    for pattern, name in _routes():
        if (found := pattern.match(path)) and method.lower() in document()["paths"][name]:
            return name, list(found.groups())
    raise NotInSpecification(f"Unrecognized request URL ({method}: {path}).")


@cache
def _validator(name: str, method: str, part: str) -> tuple[Any, dict[str, Any]]:
    operation = document()["paths"][name][method.lower()]
    if part == "query":
        fields = {item["name"]: item["schema"] for item in operation.get("parameters", []) if item["in"] == "query"}
        schema: dict[str, Any] = {"type": "object", "properties": fields, "additionalProperties": False}
    elif part == "body":
        schema = operation["requestBody"]["content"]["application/x-www-form-urlencoded"]["schema"]
    else:
        schema = operation["responses"]["200" if part == "answer" else "default"]["content"]["application/json"]["schema"]
    whole = {**schema, "components": document()["components"]}
    return jsonschema_rs.Draft202012Validator(whole), schema


def read_request(method: str, name: str, query: str, body: str) -> dict[str, Any]:
    """Return the parameters of a request, as the types that the document gives them. Raises NotInSpecification."""
    part, text = ("query", query) if method == "GET" else ("body", body or query)  # the SDK sends those of DELETE in the URL
    validator, schema = _validator(name, method, part)
    values = _typed(_nested(text), schema)
    for problem in validator.iter_errors(values):
        path = "".join(f"[{item}]" if n else str(item) for n, item in enumerate(problem.instance_path))
        raise NotInSpecification(f"{problem.message} ({method} {name} {path})", path)
    return values  # type: ignore[no-any-return]


def check_answer(method: str, name: str, answer: dict[str, Any], status: int) -> None:
    validator, _ = _validator(name, method, "answer" if status == 200 else "error")
    for problem in validator.iter_errors(answer):
        raise NotInSpecification(f"answer of {method} {name}: {problem.message} at {list(problem.instance_path)}")


def _nested(text: str) -> dict[str, Any]:
    """Return `a[b][0]=c` as {"a": {"b": ["c"]}}."""
    made: dict[str, Any] = {}
    for name, value in parse_qsl(text, keep_blank_values=True, strict_parsing=bool(text)):
        first, *rest = re.findall(r"[^\[\]]+", name)
        place, steps = made, [first, *rest]
        for step in steps[:-1]:
            place = place.setdefault(step, {})
        place[steps[-1]] = value
    return _lists(made)  # type: ignore[no-any-return]


def _lists(node: Any) -> Any:
    if not isinstance(node, dict):
        return node
    made = {name: _lists(value) for name, value in node.items()}
    return [made[name] for name in sorted(made, key=int)] if made and all(name.isdigit() for name in made) else made


def _typed(value: Any, schema: dict[str, Any]) -> Any:
    """Turn the text of a form into integers and booleans where the schema has them."""
    if "$ref" in schema:
        schema = document()["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
    if "anyOf" in schema:
        return next((made for item in schema["anyOf"] if type(made := _typed(value, item)) is not type(value)), _typed_part(value, schema))
    kind = schema.get("type")
    if isinstance(value, dict):
        fields, more = schema.get("properties", {}), schema.get("additionalProperties")
        other = more if isinstance(more, dict) else {}
        return {name: _typed(item, fields.get(name, other)) for name, item in value.items()}
    if isinstance(value, list):
        return [_typed(item, schema.get("items", {})) for item in value]
    if kind == "integer" and re.fullmatch(r"-?\d+", value):
        return int(value)
    if kind == "number" and re.fullmatch(r"-?[\d.]+", value):
        return float(value)
    return {"true": True, "false": False}.get(value, value) if kind == "boolean" else value


def _typed_part(value: Any, schema: dict[str, Any]) -> Any:
    """Of several schemas, use the one for objects or lists."""
    kind = {dict: "object", list: "array"}.get(type(value))
    return next((_typed(value, item) for item in schema["anyOf"] if kind and item.get("type") == kind), value)
