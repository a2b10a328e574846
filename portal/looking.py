"""Somebody of the business looks at these pages as the customer sees them: nothing can be changed, and no secret is shown."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from flask import g


@dataclass(frozen=True)
class Looking:
    """`name`: whose pages; `since` and `until`: how long the look lasts; `end_url`: where the look is ended by a form."""

    name: str
    since: datetime
    until: datetime
    end_url: str


def look(looking: Looking) -> None:
    """Called by the door, once."""
    g.looking = looking


def looking() -> Looking | None:
    found: Looking | None = g.get("looking")
    return found
