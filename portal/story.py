"""Events as sentences: what happened, who did it, in the order it did."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from flask_babel import gettext as _

from billing.queries.subscriptions import SubscriptionRow
from core.outbox import Event
from core.pages import words
from portal.standing import account
from portal.words import card_said


@dataclass(frozen=True)
class Chapter:
    at: datetime
    sentence: str


def told(events: list[Event], row: SubscriptionRow) -> list[Chapter]:
    """One sentence per event, newest first; events nobody would miss are left out."""
    business = account(row.business_id, row.customer_id).name
    sentences = [(one.at, _sentence(one, business)) for one in events]
    return [Chapter(at, sentence) for at, sentence in sentences if sentence]


def _sentence(event: Event, business: str) -> str:
    who = business if event.actor_type in ("staff", "api_key") else None
    day = _day(event.data.get("ends_at") or event.data.get("next_billing_at") or event.data.get("next_billing_date"))
    return {
        "subscription.created": _("%(who)s set it up.", who=who) if who else _("Set up."),
        "subscription.active": _("Started."),
        "subscription.renewed": _("Renewed to %(date)s.", date=day) if day else _("Renewed."),
        "subscription.on_hold": _("A payment did not go through. Put on hold."),
        "subscription.past_due": _("A payment did not go through. We try it again."),
        "payment.succeeded": _payment(event, _("%(amount)s paid with %(card)s."), _("%(amount)s paid.")),
        "payment.failed": _payment(event, _("The bank declined %(amount)s with %(card)s."), _("The bank declined %(amount)s.")),
        "payment.action_required": _payment(event, "", _("Your bank asked you to confirm %(amount)s.")),
        "payment.processing": _payment(
            event, _("We did not hear back about %(amount)s; we ask the bank."), _("We ask the bank about %(amount)s.")
        ),
        "subscription.cancellation_scheduled": _scheduled(who, day),
        "subscription.cancellation_revoked": _("%(who)s took the cancellation back.", who=who)
        if who
        else _("You took the cancellation back."),
        "subscription.cancelled": _("Ended."),
        "subscription.expired": _("Finished: its time was over."),
        "subscription.failed": _("It did not start: the first payment was declined."),
        "subscription.paused": _("%(who)s paused it.", who=who) if who else _("You paused it."),
        "subscription.unpaused": _("%(who)s resumed it.", who=who) if who else _("You resumed it."),
        "subscription.plan_changed": _plan(event, _("Changed to %(plan)s."), _("The plan was changed.")),
        "subscription.plan_change_scheduled": _planned(event, who),
        "subscription.plan_change_cancelled": _dropped(event, who),
        "subscription.billing_details_changed": _("%(who)s changed the billing details.", who=who)
        if who
        else _("You changed the billing details."),
        "subscription.next_billing_date_changed": _("%(who)s moved the next payment to %(date)s.", who=business, date=day),
        "subscription.term_extended": _("%(who)s made it last longer.", who=business),
        "subscription.update_payment_method": _("%(card)s pays for it from now on.", card=card_said(event.data["method"]))
        if event.data.get("method")
        else _("The way to pay was changed."),
    }.get(event.type, "")


def _plan(event: Event, named: str, unnamed: str) -> str:
    """`named` has a %(plan)s: the product, and how many of it where that is more than one."""
    name, quantity = event.data.get("product"), event.data.get("quantity")
    if not name:
        return unnamed
    return named % {"plan": f"{name} × {words().count(quantity)}" if isinstance(quantity, int) and quantity > 1 else name}


def _planned(event: Event, who: str | None) -> str:
    day = _day(event.data.get("effective_at"))
    if who:
        return _plan(event, _("%(who)s planned a change to %%(plan)s for %(date)s.", who=who, date=day), _("A change was planned."))
    return _plan(event, _("You planned a change to %%(plan)s for %(date)s.", date=day), _("A change was planned."))


def _dropped(event: Event, who: str | None) -> str:
    if event.actor_type == "system" or event.data.get("why"):
        return _("The planned change was dropped.")
    return _("%(who)s took the planned change back.", who=who) if who else _("You took the planned change back.")


def _payment(event: Event, with_card: str, without: str) -> str:
    data = event.data
    if not isinstance(data.get("amount"), int) or not data.get("currency"):
        return ""
    said = words().money(data["amount"], data["currency"])
    return (
        with_card % {"amount": said, "card": card_said(data["method"])}
        if data.get("method") and "%(card)s" in with_card
        else without % {"amount": said}
    )


def _scheduled(who: str | None, day: str) -> str:
    if who:
        return _("%(who)s cancelled it for %(date)s.", who=who, date=day) if day else _("%(who)s cancelled it.", who=who)
    return _("You cancelled it for %(date)s.", date=day) if day else _("You cancelled it.")


def _day(text: Any) -> str:
    if not isinstance(text, str):
        return ""
    try:
        return words().date(datetime.fromisoformat(text), "document")
    except ValueError:
        return ""
