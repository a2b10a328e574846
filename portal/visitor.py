"""Who reads: the masthead's name, and the language and zone of every word on the page."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Reader:
    name: str
    email: str
    locale: str | None
    zone: str | None
