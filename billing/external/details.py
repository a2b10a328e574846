"""Compares the billing details that a customer entered with those that another system has."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from billing.model.imported_records import Record
from billing.model.postal_addresses import PARTS

PREFIXES = frozenset("AT BE BG CY CZ DE DK EE EL ES FI FR GB HR HU IE IT LT LU LV MT NL PL PT RO SE SI SK XI".split())
"""Country prefixes of VAT numbers. Some systems keep a number without its prefix."""


def plain_number(number: str | None) -> str:
    """Return a tax number without separators."""
    return re.sub(r"[^A-Z0-9]", "", (number or "").upper())


def has_number(numbers: Iterable[str], number: str | None) -> bool:
    """Return whether a tax number is among others, however they are written: with or without separators and the prefix of the country."""
    wanted = plain_number(number)
    return bool(wanted) and any(_is_same(wanted, plain_number(item)) for item in numbers)


def _is_same(one: str, other: str) -> bool:
    short, long = sorted((one, other), key=len)
    return one == other or (bool(short) and long[:2] in PREFIXES and long[2:] == short)


def has_details(found: Record, parameters: Mapping[str, Any]) -> bool:
    """Return whether the subscription in the other system has the requested billing details.

    A system in which a customer has several tax numbers names them all in `more["tax_ids"]`. The requested one is among them, and the one
    that it replaces is not. `more["billing_name"]`: the name, where the system tells it with the subscription.
    """
    values, requested = found.values, parameters.get("billing") or {}
    if any((values["billing"].get(part) or None) != (value or None) for part, value in requested.items()):
        return False
    number = parameters.get("tax_id")
    if "tax_ids" not in found.more:
        return (values["tax_id"] or None) == (number or None)
    names = (found.more["billing_name"], values["business_name"] or None)
    if names != (parameters["name"], parameters.get("business_name") or None):
        return False
    replaced, there = parameters["before"]["tax_id"], found.more["tax_ids"]
    is_gone = has_number([number or ""], replaced) or not has_number(there, replaced)
    return is_gone and (not number or has_number(there, number))


def shown_details(values: Mapping[str, Any]) -> dict[str, str | None]:
    """Return billing details as {part of the address, name, business_name, tax_id}, empty as None."""
    return {name: values.get(name) or None for name in (*PARTS, "country", "name", "business_name", "tax_id")}
