"""The JSON shapes of the contract (reference §2), one module per object. Every field is always present; unknown values are null."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Annotated, Any

from flask import jsonify
from flask.typing import ResponseReturnValue
from pydantic import BaseModel, ConfigDict, PlainSerializer, WithJsonSchema

from billing.model.parties import Customer


def stamp(value: datetime) -> str:
    return value.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


Stamp = Annotated[datetime, PlainSerializer(stamp), WithJsonSchema({"type": "string", "format": "date-time"}, mode="serialization")]
"""A date and time as in RFC 3339: UTC, with a Z."""
Json = dict[str, Any]


class Shape(BaseModel):
    model_config = ConfigDict(json_schema_serialization_defaults_required=True)

    def json(self) -> Json:  # type: ignore[override]
        return self.model_dump(mode="json")


class CustomerLimited(Shape):
    customer_id: str
    email: str
    name: str
    metadata: Json
    phone_number: str | None

    @classmethod
    def of(cls, row: Customer) -> CustomerLimited:
        return cls(customer_id=row.customer_id, email=row.email, name=row.name, metadata=row.meta or {}, phone_number=row.phone)


def billing_shape(stored: Json | None, customer: Customer | None = None, country: str | None = None) -> Json:
    """Return a billing address. If the customer's country is unknown, `country` is used, else US."""
    item = stored or (customer.billing if customer else None) or {}
    return {"country": item.get("country") or country or "US", **{part: item.get(part) for part in ("city", "state", "street", "zipcode")}}


def json_response(shape: Shape, status: int = 200) -> ResponseReturnValue:
    return jsonify(shape.json()), status


def items(shapes: Iterable[Shape]) -> ResponseReturnValue:
    return jsonify(items=[shape.json() for shape in shapes])
