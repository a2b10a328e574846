"""Values of Stripe's objects as the API's shapes have them. An unexpected type raises ValueError."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from core.stripe.amounts import from_stripe
from tenants.external.system import Json

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MOST = 2**53  # above it, no number of Stripe's is exact


def child(data: Any, *path: str) -> Any:
    """Return the value at a path of an object; None where there is none."""
    for name in path:
        data = data.get(name) if isinstance(data, dict) else None
    return data


def children(data: Any, *path: str) -> list[Json]:
    """Return the objects of a list at a path: a plain one, or one of Stripe's with `data`."""
    found = child(data, *path)
    found = child(found, "data") if isinstance(found, dict) else found
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []


def id_of(value: Any) -> str | None:
    """Return the id of an object that may be expanded."""
    found = value.get("id") if isinstance(value, dict) else value
    return found if isinstance(found, str) and found else None


def moment(value: Any) -> str | None:
    """Return a time in seconds since 1970 as ISO 8601."""
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError("a time must be a whole number of seconds")
    return (EPOCH + timedelta(seconds=value)).isoformat()


def currency(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("a currency must be text")
    return value.upper()


def minor(value: Any, code: str) -> int:
    """Return an amount of Stripe's in minor units of the currency."""
    if not isinstance(value, int) or isinstance(value, bool) or not -MOST < value < MOST:
        raise ValueError("an amount must be a whole number")
    return from_stripe(value, code).minor


def address(value: Any) -> Json:
    """Return a postal address. `line2` is appended to the street."""
    parts = [part for part in (child(value, "line1"), child(value, "line2")) if isinstance(part, str) and part]
    found = {
        "country": child(value, "country"), "city": child(value, "city"), "state": child(value, "state"),
        "street": ", ".join(parts) or None, "zipcode": child(value, "postal_code"),
    }  # fmt: skip
    return {name: part for name, part in found.items() if part}


def first_text(*values: Any) -> str:
    return next((value for value in values if isinstance(value, str) and value.strip()), "")
