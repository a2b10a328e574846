"""Every combination of state, `effective_at` and mode does what the table of docs/plan-changes.md says."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import product as combinations
from pathlib import Path

import pytest
from sqlalchemy import select

from billing.model.payments import Payment
from billing.model.subscriptions import Subscription
from billing.plan_changes import business_order
from billing.pricing.calendar import nth
from billing.pricing.proration import MODES
from billing.renewals import renew
from billing.subscriptions.subscribe import subscribe
from core import clock
from core.errors import PortalError
from tests.cast import Cast
from tests.stories.ada_subscription import MAX, TEAM, Ada, wait

PAGE = Path(__file__).parents[2] / "docs" / "plan-changes.md"
STATES = ("active", "trial", "ending", "pending", "past_due", "on_hold", "paused", "cancelled", "expired", "failed")
MOMENTS = ("immediately", "next_billing_date")
ALL = list(combinations(STATES, MOMENTS, MODES))


def table() -> dict[tuple[str, str, str], tuple[str, str, str]]:
    """Map (state, effective_at, mode) to (charged now, billing cycle, the plan changes). Each combination is in one row."""
    found: dict[tuple[str, str, str], tuple[str, str, str]] = {}
    for line in PAGE.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if not line.startswith("| ") or len(cells) != 6 or cells[0] == "state":
            continue
        states, moments, modes = (
            every if said == "any" else said.split(", ") for said, every in zip(cells[:3], (STATES, MOMENTS, MODES), strict=True)
        )
        for combination in combinations(states, moments, modes):
            assert combination not in found, f"{combination} stands in the table twice"
            found[combination] = (cells[3], cells[4], cells[5])
    return found


TABLE = table()


def test_the_documentation_names_every_combination_once() -> None:
    assert set(TABLE) == set(ALL) and len(ALL) == 100


def in_state(ada: Ada, state: str) -> None:
    """Create a subscription of Ada, some days old."""
    trial = 14 if state == "trial" else 0
    began = subscribe(
        ada.processor,
        ada.business,
        customer_id=ada.buyer.customer_id,
        product_id=ada.team,
        payment_method_id=ada.buyer.method_id,
        trial_days=trial,
        billing={"country": "GB"},
    )
    ada.buyer.subscription_id = began.subscription_id or ""
    wait(days=3)
    with ada.services.database.open(ada.business, write=True) as db:
        row = db.scalar(select(Subscription).where(Subscription.id == ada.buyer.subscription_id))
        if state == "ending":
            row.cancel_at_period_end = True
        elif state not in ("active", "trial"):
            row.status = state


def unused(was: Subscription, at: datetime) -> int:
    starts = nth(was.next_billing_at, was.zone, "Month", 1, -1)
    return TEAM * int((was.next_billing_at - at).total_seconds()) // int((was.next_billing_at - starts).total_seconds())


def rest(was: Subscription, at: datetime) -> int:
    starts = nth(was.next_billing_at, was.zone, "Month", 1, -1)
    return -(-MAX * int((was.next_billing_at - at).total_seconds()) // int((was.next_billing_at - starts).total_seconds()))


@pytest.mark.parametrize("state", STATES)
def test_every_combination_does_what_the_documentation_says(cast: Cast, state: str) -> None:
    ada = Ada(cast)
    for moment, mode in combinations(MOMENTS, MODES):
        charged, cycle, changes = TABLE[state, moment, mode]
        case = (state, moment, mode)
        in_state(ada, state)
        was, at, taken = ada.subscription, clock.now(), ada.charged()
        code = ""
        try:
            plan_order = business_order.PlanChangeOrder(ada.max, 1, (), mode, effective_at=moment)
            business_order.order(ada.processor, ada.business, ada.buyer.subscription_id, plan_order)
        except PortalError as refused:
            code = refused.code
        now = ada.subscription
        payments = [payment.amount_minor for payment in ada.payments("plan_change")]
        if changes == "never":
            assert (f"`{code}`", now.version, payments) == (charged, was.version, []), case
            continue
        assert not code, (case, code)
        expected = {
            "nothing": [],
            "full price": [MAX],
            "difference of the full prices": [MAX - TEAM],
            "full price less unused time": [MAX - unused(was, at)],
            "rest of the period less unused time": [rest(was, at) - unused(was, at)],
        }[charged]
        assert len(payments) == len(expected) == ada.charged() - taken, case
        assert all(abs(ours - theirs) <= 2 for ours, theirs in zip(payments, expected, strict=True)), (case, payments, expected)
        assert (now.product_id == ada.max) == (changes == "now"), case
        begins_now = nth(at, was.zone, "Month", 1, 1)
        if cycle == "starts now":
            assert abs(now.next_billing_at - begins_now) < timedelta(minutes=1), case
        else:
            assert now.next_billing_at == was.next_billing_at and now.is_trial == was.is_trial, case
        renews(ada, case)


def renews(ada: Ada, case: tuple[str, str, str]) -> None:
    """Assert that the new plan applies at the next billing date and its full price is charged."""
    due = ada.subscription.next_billing_at
    clock.turn(clock.offset() + (due - clock.now()) + timedelta(minutes=5))
    renew.run_due(ada.processor, limit=500)
    last: Payment = ada.payments("renewal")[-1]
    assert (ada.subscription.product_id, last.amount_minor, last.status) == (ada.max, MAX, "succeeded"), case
