"""The person who views a page: the name in the header, the language and the time zone."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Reader:
    name: str
    email: str
    locale: str | None
    zone: str | None
