"""Stores priced lines as JSON on a payment, so that the invoice has the same lines as the hosted page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from billing.pricing.prices import ITEM, PriceLine


def cart_of(lines: Sequence[PriceLine]) -> list[dict[str, Any]]:
    """Convert lines to JSON. `off` becomes a list of lists and is left out for lines without a discount."""
    out = []
    for line in lines:
        stored = {k: v for k, v in asdict(line).items() if k not in ("starts_at", "ends_at", "off")}
        out.append(stored | {"off": [list(entry) for entry in line.off]} if line.off else stored)
    return out


def lines_of(cart: Sequence[dict[str, Any]], starts_at: datetime | None = None, ends_at: datetime | None = None) -> list[PriceLine]:
    """Convert JSON to lines. Items get the period; credit lines have none."""
    return [_line(stored, starts_at, ends_at) if stored.get("kind", ITEM) == ITEM else _line(stored, None, None) for stored in cart]


def _line(stored: dict[str, Any], starts_at: datetime | None, ends_at: datetime | None) -> PriceLine:
    off = tuple((str(label), int(minor)) for label, minor in stored.get("off", ()))
    return PriceLine(**{**stored, "off": off}, starts_at=starts_at, ends_at=ends_at)
