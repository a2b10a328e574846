"""Priced lines as JSON on a payment, so that what was shown on the hosted page is what the invoice says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from billing.pricing import ITEM, Line


def cart_of(lines: Sequence[Line]) -> list[dict[str, Any]]:
    """`off` as JSON reads it back: lists, and only where something was taken off."""
    out = []
    for line in lines:
        item = {k: v for k, v in asdict(line).items() if k not in ("starts_at", "ends_at", "off")}
        out.append(item | {"off": [list(one) for one in line.off]} if line.off else item)
    return out


def lines_of(cart: Sequence[dict[str, Any]], starts_at: datetime | None = None, ends_at: datetime | None = None) -> list[Line]:
    """The period is that of what is sold; a line of credit has none."""
    return [_line(item, starts_at, ends_at) if item.get("kind", ITEM) == ITEM else _line(item, None, None) for item in cart]


def _line(item: dict[str, Any], starts_at: datetime | None, ends_at: datetime | None) -> Line:
    off = tuple((str(words), int(minor)) for words, minor in item.get("off", ()))
    return Line(**{**item, "off": off}, starts_at=starts_at, ends_at=ends_at)
