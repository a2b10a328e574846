"""Happenings in words for staff: when, who, what, about whom."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from flask_babel import gettext as _

from portal.deeds import UNTOLD, deed
from tenants.activity import Happening


@dataclass(frozen=True)
class Told:
    at: datetime
    who: str
    what: str
    customer_id: str
    customer: str


def tell(found: list[Happening]) -> list[Told]:
    return [Told(one.at, who(one), deed(one.type, one.data), one.customer_id, one.customer) for one in found if one.type not in UNTOLD]


def who(one: Happening) -> str:
    return _named(one.actor_type, one.who, one.customer)


def author(kept: dict[str, Any] | None, names: dict[str, str], customer: str) -> str:
    """Who began a payment or asked for a refund; empty where that was not kept."""
    return _named(kept["type"], names.get(kept.get("id") or "", ""), customer) if kept else ""


def _named(actor_type: str, name: str, customer: str) -> str:
    if actor_type == "staff":
        return name or _("somebody of the team")
    if actor_type == "api_key":
        return _("API key %(name)s", name=name) if name else _("an API key")
    if actor_type == "customer":
        return customer or _("the customer")
    return _("by itself") if actor_type == "system" else _("a visitor")
