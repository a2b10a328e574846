"""Read JSON from clients and other systems.

The result can be stored on both engines and read by every client: text without NUL and without lone surrogates
(RFC 8259 section 8.2), finite numbers, integers of 64 bits (RFC 7493 section 2.2 wants less; identifiers of that size are
common), and at most 64 levels.
"""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

DEPTH = 64
LARGEST = 2**63 - 1


class UnreadableJson(ValueError):
    """Invalid JSON, or text that cannot be stored."""


class OutOfRange(ValueError):
    """A number that cannot be stored: infinite, NaN, or an integer of more than 64 bits. `field`: dotted path, may be empty."""

    def __init__(self, field: str) -> None:
        self.field = field
        super().__init__(f"{field or 'body'}: a number is out of range")


def read_json(raw: bytes | str) -> Any:
    """Parse and check. Raises UnreadableJson or OutOfRange (both ValueError)."""
    try:
        sent = json.loads(raw, parse_constant=_no_constant, parse_int=_integer)
    except (ValueError, RecursionError) as wrong:  # UnicodeDecodeError is a ValueError
        raise UnreadableJson(str(wrong)[:200] or "nested too deeply") from None
    _check(sent)
    return sent


def _check(sent: Any) -> None:
    """Check texts, numbers and depth, level by level without recursion."""
    level: list[tuple[str, Any]] = [("", sent)]
    for _ in range(DEPTH):
        below: list[tuple[str, Any]] = []
        for field, value in level:
            if isinstance(value, str):
                _check_text(value)
            elif isinstance(value, float) and not math.isfinite(value):
                raise OutOfRange(field)
            elif isinstance(value, int) and not -LARGEST - 1 <= value <= LARGEST:
                raise OutOfRange(field)
            elif isinstance(value, dict):
                for name, item in value.items():
                    _check_text(name)
                    below.append((f"{field}.{name}" if field else name, item))
            elif isinstance(value, list):
                below += [(f"{field}.{n}" if field else str(n), item) for n, item in enumerate(value)]
        if not below:
            return
        level = below
    raise UnreadableJson("nested too deeply")


def _check_text(text: str) -> None:
    if "\x00" in text:
        raise UnreadableJson("NUL")
    if any("\ud800" <= c <= "\udfff" for c in text):
        raise UnreadableJson("a lone surrogate")


def _integer(text: str) -> int | float:
    """Parse an integer. A very long one becomes infinite, because Python refuses to parse more than 4300 digits."""
    return int(text) if len(text) <= 40 else math.inf


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")
