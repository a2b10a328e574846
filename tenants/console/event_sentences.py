"""Descriptions of events for staff: time, actor, event and customer."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from flask_babel import gettext as _

from portal.event_sentences import HIDDEN_EVENTS, event_sentence
from tenants.activity import BusinessActivityEntry


@dataclass(frozen=True)
class BusinessEvent:
    at: datetime
    who: str
    what: str
    customer_id: str
    customer: str


def describe(found: list[BusinessActivityEntry]) -> list[BusinessEvent]:
    return [
        BusinessEvent(item.at, who(item), event_sentence(item.type, item.data), item.customer_id, item.customer)
        for item in found
        if item.type not in HIDDEN_EVENTS
    ]


def who(business_activity_entry: BusinessActivityEntry) -> str:
    return _named(business_activity_entry.actor_type, business_activity_entry.who, business_activity_entry.customer)


def author(actor: dict[str, Any] | None, names: dict[str, str], customer: str) -> str:
    """Return the name of who started a payment or requested a refund; empty if it was not recorded."""
    return _named(actor["type"], names.get(actor.get("id") or "", ""), customer) if actor else ""


def _named(actor_type: str, name: str, customer: str) -> str:
    if actor_type == "staff":
        return name or _("a team member")
    if actor_type == "api_key":
        return _("API key %(name)s", name=name) if name else _("an API key")
    if actor_type == "customer":
        return customer or _("the customer")
    if actor_type == "processor":
        return _("the payment provider")
    return _("System") if actor_type == "system" else _("a visitor")
