"""The business of `business_and_buyer.py` with a refund policy, and its customer who uses it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from billing.customers.refund_policy import change_refund_policy
from billing.model.payments import Payment, Refund
from billing.self_refunds import refund_payment as command
from billing.self_refunds.assessment import Assessment
from core import clock
from core.scope import Scope, customer_of, system
from tests.stories.business_and_buyer import Site


def with_policy(site: Site, **changes: Any) -> Site:
    """Switch the refund policy on: 14 days, one-time purchases and first payments, no limit of refunds; with `changes`."""
    with site.database.open(system(site.business_id), write=True) as db:
        change_refund_policy(db, {"is_on": True, "months": 0, **changes})
    return site


def customer_scope(site: Site, customer_id: str = "") -> Scope:
    owner = customer_id or site.customer_id
    return customer_of(site.business_id, owner)


def assessed(site: Site, payment_id: str) -> Assessment:
    with site.database.open(customer_scope(site)) as db:
        return command.assess_payment(db, payment_id)


def shown(site: Site, payment_id: str) -> command.Shown:
    """Return what the customer's page contains now."""
    found = assessed(site, payment_id)
    return command.Shown(found.amount_minor, found.as_of, found.seen)


def refund_own(site: Site, payment_id: str, page: command.Shown | None = None, reason: str | None = None) -> Refund:
    return command.refund_own_payment(site.processor, customer_scope(site), payment_id, page or shown(site, payment_id), reason)


def payment(site: Site, payment_id: str) -> Payment:
    found: Payment = site.rows(Payment, id=payment_id)[0]
    return found


def later(**time: float) -> None:
    """Move billing time forward."""
    clock.turn(clock.now() - clock.wall() + timedelta(**time))
