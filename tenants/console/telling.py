"""Happenings in words for staff: when, who, what, about whom."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

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
    if one.actor_type == "staff":
        return one.who or _("somebody of the team")
    if one.actor_type == "api_key":
        return _("API key %(name)s", name=one.who) if one.who else _("an API key")
    if one.actor_type == "customer":
        return one.customer or _("the customer")
    return _("by itself") if one.actor_type == "system" else _("a visitor")
