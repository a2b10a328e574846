"""Staff of a business view the portal as a customer. They cannot change anything, and secrets are masked."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from flask import g


@dataclass(frozen=True)
class ImpersonationNotice:
    """The notice at the top of each page. `name`: the customer; `since` and `until`: start and end; `end_url`: form that ends it."""

    name: str
    since: datetime
    until: datetime
    end_url: str


def set_impersonation(notice: ImpersonationNotice) -> None:
    """Set the notice of this request."""
    g.impersonation = notice


def current_impersonation() -> ImpersonationNotice | None:
    found: ImpersonationNotice | None = g.get("impersonation")
    return found
