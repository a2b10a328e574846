"""A renewal was charged, not recorded, and refunded by staff: the period is unpaid, and no reminder is sent."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from billing.charging import settlement
from billing.charging.refund import refund
from billing.model.payments import Payment
from billing.model.sent_notices import SentNotice
from billing.renewals import dunning
from core import clock
from core.scope import system
from tests.stories.business_and_buyer import Site
from tests.stories.test_money_is_booked import broken, site  # noqa: F401 - a fixture


def held_after_refund(site: Site) -> Any:  # noqa: F811
    site.subscribe()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(settlement, "apply_payment", broken)
        site.pass_period()
        renewal = next(row for row in site.rows(Payment) if row.charge_type == "renewal")
        assert refund(site.processor, system(site.business_id), renewal.id).status == "succeeded"
    site.overdue()
    site.processor.reconcile()
    return site.subscription()


def reminders(site: Site) -> list[str]:  # noqa: F811
    return [row.purpose for row in site.rows(SentNotice) if row.purpose == "dunning"]


def test_a_period_refunded_by_staff_gets_no_reminder(site: Site) -> None:  # noqa: F811
    item = held_after_refund(site)
    assert item.status == "on_hold"
    for days in (2, 4, 8):
        clock.turn(clock.now() - clock.wall() + timedelta(days=days))
        dunning.run_due(site.processor)
    assert reminders(site) == []


def test_a_renewal_that_was_only_declined_is_reminded_of(site: Site) -> None:  # noqa: F811
    site.subscribe(card="4000000000000341")
    site.pass_period()
    assert site.subscription().status == "on_hold"
    clock.turn(clock.now() - clock.wall() + timedelta(days=2))
    dunning.run_due(site.processor)
    assert reminders(site) == ["dunning"]
