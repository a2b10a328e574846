"""Open a page of the external billing system while the customer waits: for a new payment method, or to pay an open invoice."""

from __future__ import annotations

from typing import Any, Literal

from sqlalchemy import select

from billing.external.dispatch import ActionDispatcher
from billing.external.enqueue import collects_itself, enqueue_action, pending
from billing.model import lifecycle
from billing.model.delegated_actions import DelegatedAction
from billing.model.invoices import Invoice
from billing.model.lifecycle import DELEGATED_ACTION, LIVE, SUBSCRIPTION
from billing.model.subscriptions import Subscription, business_of, load_subscription
from core.db import ScopedSession
from core.errors import N_, Conflict, NotFound, Unavailable
from core.scope import Scope, system

REFUSAL = N_("This subscription is billed by another system. Change its payment method there.")
AWAY = N_("The business's billing system can't be reached right now. Nothing was changed. Please try again.")
PAY_THERE = N_("This subscription is billed by another system. Pay it there.")
NOT_PAYABLE = N_("This invoice can no longer be paid. Contact the business.")

MOST_SHOWN = 50

Verb = Literal["change_method", "pay_invoice"]


def open_method_page(forwarder: ActionDispatcher, scope: Scope, subscription_id: str, return_url: str) -> str | None:
    """Return the URL of the page for a new payment method, or None when nothing has to be entered. Opens its own sessions.

    Raises NotFound, Conflict (wrong state, not possible, or refused with the other system's message), Unavailable (no answer).
    """

    def check(db: ScopedSession, subscription: Subscription) -> dict[str, Any]:
        lifecycle.move(SUBSCRIPTION, subscription.status, "change_method")
        return {"return_url": return_url}

    return _open(forwarder, scope, subscription_id, "change_method", REFUSAL, check)


def open_invoice_page(forwarder: ActionDispatcher, scope: Scope, subscription_id: str, invoice_id: str | None = None) -> str | None:
    """Return the URL of the page where an open invoice is paid, by default the oldest, or None if it is paid. Opens its own sessions.

    Without an open invoice here, the other system is asked for its latest one. Raises as `open_method_page`.
    """
    if invoice_id is not None and _is_paid(forwarder, scope, subscription_id, invoice_id):
        return None

    def check(db: ScopedSession, subscription: Subscription) -> dict[str, Any]:
        unpaid = external_invoices(db, subscription.business_id, subscription.id)
        chosen = next((item.id for item in unpaid if invoice_id in (None, item.id)), None)
        if chosen is None and (invoice_id is not None or subscription.status not in LIVE):
            raise Conflict("SUBSCRIPTION_INACTIVE", NOT_PAYABLE)
        return {"invoice_id": chosen} if chosen is not None else {}

    return _open(forwarder, scope, subscription_id, "pay_invoice", PAY_THERE, check)


def _is_paid(forwarder: ActionDispatcher, scope: Scope, subscription_id: str, invoice_id: str) -> bool:
    """Return whether an invoice of the subscription is paid. Raises NotFound for any other invoice."""
    with forwarder.database.open(scope) as db:
        status = db.scalar(select(Invoice.status).where(Invoice.id == invoice_id, Invoice.subscription_id == subscription_id))
    if status is None:
        raise NotFound(sentence=N_("There is no such invoice."))
    return status == "paid"


def external_invoices(db: ScopedSession, business_id: str, subscription_id: str) -> list[Invoice]:
    """Return the open invoices of a subscription, the oldest first."""
    query = select(Invoice).where(
        Invoice.business_id == business_id,
        Invoice.subscription_id == subscription_id,
        Invoice.status == "open",
        Invoice.due_minor > 0,
        Invoice.account_id.is_not(None),
    )
    return list(db.scalars(query.order_by(Invoice.issued_at, Invoice.id).limit(MOST_SHOWN)))


def _open(forwarder: ActionDispatcher, scope: Scope, subscription_id: str, verb: Verb, refusal: str, check: Any) -> str | None:
    business_id = business_of(forwarder.database, scope, subscription_id)
    with forwarder.database.open(system(business_id, scope.actor), write=True) as db:
        subscription = load_subscription(db, subscription_id)
        parameters = check(db, subscription)
        if not collects_itself(subscription, verb, refusal):
            raise Conflict("UNSUPPORTED_ACTION", N_("This subscription is billed here."))
        if pending(db, business_id, subscription_id) is not None:
            raise Conflict("ACT_PENDING", N_("Another change is still being processed. Try again in a moment."))
        action_id = enqueue_action(db, subscription, verb, parameters, at_once=True).id
    status = forwarder.run(business_id, action_id)
    with forwarder.database.open(system(business_id), write=True) as db:
        action = db.scalar(select(DelegatedAction).where(DelegatedAction.id == action_id))
        assert action is not None
        if status == "pending":  # the customer has left by the time the page would come
            action.status, action.error, action.check_at = lifecycle.move(DELEGATED_ACTION, action.status, "refuse"), AWAY, None
        error, link = action.error, action.link
    if status == "pending":
        raise Unavailable("ELSEWHERE_UNREACHABLE", AWAY)
    if status == "refused":
        raise Conflict("REFUSED_ELSEWHERE", error or AWAY)
    return link if status == "opened" else None
