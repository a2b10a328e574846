"""The history of a subscription: its events as sentences."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from flask_babel import gettext as _

from billing.subscriptions.subscription_row import SubscriptionRow
from core.outbox import Event
from core.template_context import formatter
from portal.phrases import card_of_event
from portal.receipts import receipt_of
from portal.request_accounts import account

PAYMENT_EVENTS = (
    "payment.succeeded",
    "payment.failed",
    "payment.action_required",
    "payment.processing",
    "payment.cancelled",
    "subscription.renewed",
)
"""Events that the list of payments on the same page already shows. The history leaves them out."""


@dataclass(frozen=True)
class TimelineEntry:
    """`receipt`: the number of the receipt of the action, and `receipt_url` its page; empty if it gave none."""

    at: datetime
    sentence: str
    receipt: str = ""
    receipt_url: str = ""


def timeline(events: list[Event], row: SubscriptionRow) -> list[TimelineEntry]:
    """Return one entry per event in the order given. Events without a sentence are omitted."""
    business = account(row.business_id, row.customer_id).name
    sentences = [(event, _sentence(event, business)) for event in events]
    return [TimelineEntry(event.at, sentence, *receipt_of(event.data)) for event, sentence in sentences if sentence]


def _sentence(event: Event, business: str) -> str:
    actor = business if event.actor_type in ("staff", "api_key") else None
    day = _day(event.data.get("ends_at") or event.data.get("next_billing_at") or event.data.get("next_billing_date"))
    return {
        "subscription.created": _("%(who)s created the subscription.", who=actor) if actor else _("Created."),
        "subscription.active": _("Started."),
        "subscription.on_hold": _("A payment didn’t go through. The subscription was put on hold."),
        "subscription.past_due": _("A payment didn’t go through. We’ll try again."),
        "subscription.cancellation_scheduled": _cancellation_scheduled(actor, day),
        "subscription.cancellation_revoked": _("%(who)s undid the cancellation.", who=actor) if actor else _("You undid the cancellation."),
        "subscription.cancelled": _("Ended."),
        "subscription.expired": _("The subscription reached its end date."),
        "subscription.failed": _("It didn’t start because the first payment was declined."),
        "subscription.paused": _("%(who)s paused the subscription.", who=actor) if actor else _("You paused the subscription."),
        "subscription.unpaused": _("%(who)s resumed the subscription.", who=actor) if actor else _("You resumed the subscription."),
        "subscription.plan_changed": _plan_sentence(event, _("Changed to %(plan)s."), _("The plan was changed.")),
        "subscription.plan_change_scheduled": _plan_change_scheduled(event, actor),
        "subscription.plan_change_cancelled": _plan_change_cancelled(event, actor),
        "subscription.billing_details_changed": _("%(who)s changed the billing details.", who=actor)
        if actor
        else _("You changed the billing details."),
        "subscription.next_billing_date_changed": _("%(who)s moved the next payment to %(date)s.", who=business, date=day),
        "subscription.term_extended": _("%(who)s extended the subscription.", who=business),
        "subscription.update_payment_method": _("The payment method was changed to %(card)s.", card=card_of_event(event.data["method"]))
        if event.data.get("method")
        else _("The payment method was changed."),
    }.get(event.type, "")


def _plan_sentence(event: Event, named: str, unnamed: str) -> str:
    """Return `named` with its %(plan)s filled in: the product, with the quantity if it is more than one."""
    name, quantity = event.data.get("product"), event.data.get("quantity")
    if not name:
        return unnamed
    return named % {"plan": f"{name} × {formatter().count(quantity)}" if isinstance(quantity, int) and quantity > 1 else name}


def _plan_change_scheduled(event: Event, actor: str | None) -> str:
    day = _day(event.data.get("effective_at"))
    if actor:
        return _plan_sentence(
            event, _("%(who)s scheduled a change to %%(plan)s for %(date)s.", who=actor, date=day), _("A plan change was scheduled.")
        )
    return _plan_sentence(event, _("You scheduled a change to %%(plan)s for %(date)s.", date=day), _("A plan change was scheduled."))


def _plan_change_cancelled(event: Event, actor: str | None) -> str:
    if event.actor_type == "system" or event.data.get("why"):
        return _("The scheduled plan change was cancelled.")
    return _("%(who)s cancelled the scheduled plan change.", who=actor) if actor else _("You cancelled the scheduled plan change.")


def _cancellation_scheduled(actor: str | None, day: str) -> str:
    if actor:
        return (
            _("%(who)s scheduled the cancellation for %(date)s.", who=actor, date=day)
            if day
            else _("%(who)s cancelled the subscription.", who=actor)
        )
    return _("You scheduled the cancellation for %(date)s.", date=day) if day else _("You cancelled the subscription.")


def _day(text: Any) -> str:
    if not isinstance(text, str):
        return ""
    try:
        return formatter().date(datetime.fromisoformat(text), "document")
    except ValueError:
        return ""
