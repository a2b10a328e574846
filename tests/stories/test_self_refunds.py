"""Customers refund payments themselves under the policy of a business: exactly what was shown, once, or nothing."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from datetime import timedelta
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import select

from billing.charging import refund as staff_refund
from billing.charging.ports import ChargeOutcome
from billing.charging.reconciliation_exceptions import ReconciliationException
from billing.customers.archive_business import archive_business
from billing.customers.blocking import block
from billing.customers.refund_policy import change_refund_policy
from billing.licenses.activations import activate, deactivate
from billing.model.invoices import Invoice, InvoiceLine
from billing.model.licenses import LicenseInstance, LicenseKey
from billing.model.parties import Business
from billing.model.payments import Payment, Refund
from billing.plan_changes import confirm as confirm_plan_change
from billing.self_refunds import refund_payment as command
from billing.subscriptions.pause import pause
from core import clock
from core.errors import Conflict, Invalid, NotFound
from core.scope import customer_of, everything, system
from gateways.sandbox import returns
from tests.stories.business_and_buyer import Site
from tests.stories.self_refund_site import assessed, customer_scope, later, payment, refund_own, shown, with_policy
from tests.stories.test_disputes import told


@pytest.fixture
def site(processor_services: Any) -> Site:
    return with_policy(Site.open(processor_services))


def code_of(call: Callable[[], Any]) -> str:
    with pytest.raises(Conflict) as refused:
        call()
    return refused.value.code


def unmet(site: Site, payment_id: str) -> list[str]:
    return [item.code for item in assessed(site, payment_id).conditions if not item.is_met]


def test_a_purchase_is_refunded_in_full_and_its_key_stops_working(site: Site) -> None:
    bought = site.buy(price=4900, licence=True)
    found = assessed(site, bought.payment_id)
    assert found.is_allowed and found.amount_minor == 4900 and not found.ends_subscription
    made = refund_own(site, bought.payment_id, reason="mistake")
    assert (made.status, made.amount_minor, made.by_policy, made.reason) == ("succeeded", 4900, True, "Bought by mistake")
    assert made.author == {"type": "customer", "id": site.customer_id} and [key.status for key in site.rows(LicenseKey)] == ["disabled"]
    assert code_of(lambda: refund_own(site, bought.payment_id)) == "PAYMENT_ALREADY_REFUNDED"
    assert site.events().count("refund.by_policy") == 1
    site.balanced()


def test_it_is_off_by_default(processor_services: Any) -> None:
    site = Site.open(processor_services)
    bought = site.buy()
    found = assessed(site, bought.payment_id)
    assert not found.is_allowed and found.conditions == ()
    assert code_of(lambda: refund_own(site, bought.payment_id)) == "REFUND_POLICY_NOT_MET"
    assert site.rows(Refund) == []


def test_the_last_day_counts_until_midnight_of_the_business(site: Site) -> None:
    bought = site.buy()
    found = assessed(site, bought.payment_id)
    local = found.deadline.astimezone(ZoneInfo("Europe/London"))
    assert (local.hour, local.minute) == (0, 0) and (local.date() - found.paid_at.date()).days in (14, 15)
    page = shown(site, bought.payment_id)
    later(seconds=(found.deadline - clock.now()).total_seconds() - 60)
    assert assessed(site, bought.payment_id).is_allowed
    assert code_of(lambda: refund_own(site, bought.payment_id, page)) == "REFUND_CHANGED", "the page is two weeks old"
    page = shown(site, bought.payment_id)
    later(minutes=2)
    assert unmet(site, bought.payment_id) == ["days"]
    assert code_of(lambda: refund_own(site, bought.payment_id, page)) == "REFUND_POLICY_NOT_MET", "the page was opened in time"


def test_a_refund_of_the_first_payment_ends_the_subscription_at_once(site: Site) -> None:
    began = site.subscribe(price=2900)
    found = assessed(site, began.payment_id)
    assert found.is_allowed and found.ends_subscription
    made = refund_own(site, began.payment_id)
    ended = site.subscription()
    assert (made.amount_minor, ended.status, ended.cancelled_by) == (2900, "cancelled", {"type": "customer"})
    assert site.events().index("refund.by_policy") < site.events().index("subscription.cancelled")
    later(days=40)
    site.work()
    assert site.charges() == [2900], "an ended subscription is not renewed"
    site.balanced()


@pytest.mark.parametrize(("currency", "price", "bps"), [("EUR", 2999, 1900), ("JPY", 2999, 1000), ("KWD", 12_345, 500)])
def test_prorated_amounts_are_exact_to_the_minor_unit(site: Site, currency: str, price: int, bps: int) -> None:
    """The expected figures are computed here from seconds, without the code under test."""
    with_policy(site, amount="prorated")
    began = site.subscribe(price=price, currency=currency, tax={"GB": bps})
    paid, bill = payment(site, began.payment_id), site.rows(Invoice)[0]
    assert paid.amount_minor == price + (2 * price * bps + 10_000) // 20_000, "tax is added, rounded half up"
    later(days=9, hours=7, seconds=13)
    page = shown(site, began.payment_id)
    period, unused = (bill.ends_at - bill.starts_at).total_seconds(), int((bill.ends_at - page.as_of).total_seconds())
    expected = int(Fraction(paid.amount_minor * unused, int(period)))
    assert page.amount_minor == expected and 0 < expected < paid.amount_minor
    later(minutes=10)
    made = refund_own(site, began.payment_id, page)
    assert made.amount_minor == expected, "what was shown is refunded, not what it is ten minutes later"
    tax = made.snapshot["tax"]
    exact = Fraction(expected * bill.tax_minor, bill.tax_minor + bill.subtotal_minor)
    assert len(tax) == 1 and abs(tax[0]["tax_minor"] - exact) <= Fraction(1, 2) and tax[0]["net_minor"] + tax[0]["tax_minor"] == expected
    assert site.subscription().status == "cancelled" and sum(line.refunded_minor for line in site.rows(InvoiceLine)) == expected
    site.balanced()


def test_the_slip_splits_tax_like_the_document(site: Site) -> None:
    with_policy(site, amount="prorated")
    began = site.subscribe(price=2999, tax={"GB": 1900})
    later(days=3, seconds=5)
    page, sums = shown(site, began.payment_id), assessed(site, began.payment_id).sums
    made = refund_own(site, began.payment_id, page)
    assert made.snapshot["tax"] == sums["tax"] and made.snapshot["subtotal_minor"] == sums["subtotal_minor"]


def test_paused_time_is_not_used(site: Site) -> None:
    with_policy(site, amount="prorated", days=60)
    began = site.subscribe(price=3100)
    later(days=5)
    with site.database.open(system(site.business_id), write=True) as db:
        pause(db, site.subscription_id)
    before = shown(site, began.payment_id).amount_minor
    later(days=20)
    assert shown(site, began.payment_id).amount_minor == before


@pytest.mark.parametrize("change", ["amount", "as_of old", "as_of future", "seen", "staff refunded a part"])
def test_nothing_is_refunded_if_it_differs_from_what_was_shown(site: Site, change: str) -> None:
    bought = site.buy(price=4900)
    page = shown(site, bought.payment_id)
    if change == "staff refunded a part":
        staff_refund.refund(site.processor, system(site.business_id), bought.payment_id, amount_minor=900)
    else:
        age = timedelta(minutes=16) if "old" in change else timedelta(minutes=-1) if "future" in change else timedelta(0)
        page = command.Shown(page.amount_minor + (change == "amount"), page.as_of - age, page.seen + (change == "seen"))
    before = len(site.rows(Refund))
    assert code_of(lambda: refund_own(site, bought.payment_id, page)) == "REFUND_CHANGED"
    assert len(site.rows(Refund)) == before
    assert shown(site, bought.payment_id).amount_minor == (4000 if before else 4900)
    refund_own(site, bought.payment_id)
    assert payment(site, bought.payment_id).refunded_minor == 4900
    site.balanced()


def test_each_condition_names_what_is_missing(site: Site) -> None:
    with_policy(site, kinds=["one_time"])
    began = site.subscribe()
    assert unmet(site, began.payment_id) == ["kind"]
    with_policy(site, kinds=["one_time", "first_payment"])
    assert unmet(site, began.payment_id) == []
    site.pass_period()
    renewal = next(row for row in site.rows(Payment) if row.charge_type == "renewal")
    assert unmet(site, renewal.id) == ["kind"]
    assert unmet(site, began.payment_id) == ["days", "latest"], "an earlier period is not refunded while a later one is paid"
    with_policy(site, kinds=["renewal"])
    assert unmet(site, renewal.id) == []
    assert refund_own(site, renewal.id).status == "succeeded" and site.subscription().status == "cancelled"
    site.balanced()


def test_the_first_payment_after_a_trial_is_a_first_payment(site: Site) -> None:
    site.subscribe(trial_days=7)
    free = site.rows(Payment)[0]
    assert assessed(site, free.id).obstacle == "unrecognized", "nothing was paid yet"
    site.pass_period()
    paid = next(row for row in site.rows(Payment) if row.amount_minor)
    kind = next(item for item in assessed(site, paid.id).conditions if item.code == "kind")
    assert (paid.charge_type, kind.name, kind.is_met) == ("renewal", "first_payment", True)


def test_a_plan_change_is_left_to_staff(site: Site) -> None:
    began = site.subscribe(price=5000)
    cheaper = site.product(site.monthly(1000))
    with site.database.open(system(site.business_id), write=True) as db:
        options: dict[str, Any] = {"mode": "prorated_immediately_keep_cycle", "effective_at": "immediately"}
        quote = confirm_plan_change.quote(db, site.subscription_id, cheaper, **options)
    confirm_plan_change.confirm(site.processor, system(site.business_id), quote.id)
    assert unmet(site, began.payment_id) == ["plan"]
    assert code_of(lambda: refund_own(site, began.payment_id)) == "REFUND_POLICY_NOT_MET"
    assert site.subscription().credit_minor > 0


def test_an_activated_key_prevents_it_until_it_is_deactivated(site: Site) -> None:
    bought = site.buy(licence=True)
    [key] = site.rows(LicenseKey)
    with site.database.open(system(site.business_id), write=True) as db:
        activate(db, key.id, "Ada's laptop")
    assert unmet(site, bought.payment_id) == ["keys"]
    with site.database.open(system(site.business_id), write=True) as db:
        deactivate(db, key.id, db.scalars(select(LicenseInstance.id)).one())
    assert unmet(site, bought.payment_id) == []
    with site.database.open(system(site.business_id), write=True) as db:
        activate(db, key.id, "Ada's laptop")
    with_policy(site, keys="any")
    assert refund_own(site, bought.payment_id).status == "succeeded"


def test_one_refund_in_so_many_months(site: Site) -> None:
    with_policy(site, months=12, days=90)
    first, second = site.buy(), site.buy()
    refund_own(site, first.payment_id)
    condition = next(item for item in assessed(site, second.payment_id).conditions if item.code == "months")
    assert not condition.is_met and condition.at is not None and 360 < (condition.at - clock.now()).days <= 366
    later(days=366)
    third = site.buy()
    assert unmet(site, third.payment_id) == []
    staff_refund.refund(site.processor, system(site.business_id), third.payment_id)
    assert unmet(site, site.buy().payment_id) == [], "refunds by staff do not count"


@pytest.mark.parametrize("seed", range(4))
def test_two_payments_refunded_at_once_count_each_other(site: Site, seed: int) -> None:
    with_policy(site, months=6)
    pages = {began.payment_id: shown(site, began.payment_id) for began in (site.buy(), site.buy())}
    refused = run_together([lambda key=key: refund_own(site, key, page) for key, page in pages.items()], seed)
    assert [row.status for row in site.rows(Refund)] == ["succeeded"] and refused == ["REFUND_POLICY_NOT_MET"]
    site.balanced()


@pytest.mark.parametrize("seed", range(3))
def test_a_double_click_and_two_tabs_refund_once(site: Site, seed: int) -> None:
    began = site.subscribe()
    page = shown(site, began.payment_id)
    refused = run_together([lambda: refund_own(site, began.payment_id, page)] * 4, seed)
    assert len(site.rows(Refund)) == 1 and len(refused) == 3
    assert set(refused) <= {"PAYMENT_ALREADY_REFUNDED", "EXISTING_REFUND_REQUEST_PROCESSING", "REFUND_CHANGED"}
    site.balanced()


@pytest.mark.parametrize("seed", range(8))
def test_refunds_by_customer_and_staff_never_exceed_the_payment(site: Site, seed: int) -> None:
    """Random amounts of staff beside the customer's own refund, all at once."""
    rng = random.Random(seed)  # noqa: S311 - no secret
    with_policy(site, amount=rng.choice(["full", "prorated"]))
    began = site.subscribe(price=rng.randint(100, 9000)) if seed % 2 else site.buy(price=rng.randint(100, 9000))
    total = payment(site, began.payment_id).amount_minor
    later(hours=rng.randint(1, 200))
    page = shown(site, began.payment_id)
    acts: list[Callable[[], Any]] = [lambda: refund_own(site, began.payment_id, page)] * 2
    for minor in [rng.randint(1, total) for _ in range(3)]:
        acts.append(lambda minor=minor: staff_refund.refund(site.processor, system(site.business_id), began.payment_id, amount_minor=minor))
    run_together(acts, seed)
    back = [row.amount_minor for row in site.rows(Refund) if row.status != "failed"]
    assert back and sum(back) <= total and len([row for row in site.rows(Refund) if row.by_policy]) <= 1
    site.balanced()


def run_together(acts: list[Callable[[], Any]], seed: int) -> list[str]:
    """Run all at the same moment. Returns the codes of those that were refused."""
    gate, refused = threading.Barrier(len(acts)), []

    def run(act: Callable[[], Any]) -> None:
        gate.wait()
        try:
            act()
        except Conflict as problem:
            refused.append(problem.code)

    threads = [threading.Thread(target=run, args=(act,)) for act in random.Random(seed).sample(acts, len(acts))]  # noqa: S311
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return refused


def test_a_disputed_payment_is_not_refunded(site: Site) -> None:
    bought = site.buy(price=4900)
    site.gateway.on_page(returns.open_dispute, payment(site, bought.payment_id).gateway_reference, 100)
    told(site)
    assert assessed(site, bought.payment_id).obstacle == "disputed"
    assert code_of(lambda: refund_own(site, bought.payment_id)) == "PAYMENT_DISPUTED"


def test_an_open_payment_of_the_subscription_comes_first(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    with_policy(site, days=90)
    began = site.subscribe()
    with monkeypatch.context() as silent:
        silent.setattr(type(site.gateway), "charge", lambda _self, request: ChargeOutcome("unknown", request.key))
        silent.setattr(type(site.gateway), "look_up", lambda _self, trace: ChargeOutcome("unknown", trace.key))
        site.pass_period()
    assert [row.is_open for row in site.rows(Payment) if row.charge_type == "renewal"] == [True]
    assert assessed(site, began.payment_id).obstacle == "open_payment"
    assert code_of(lambda: refund_own(site, began.payment_id)) == "PREVIOUS_PAYMENT_PENDING"


def test_a_refund_that_fails_is_told_to_customer_and_staff(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    with_policy(site, months=12)
    began = site.subscribe()
    with monkeypatch.context() as refusing:
        refusing.setattr(
            type(site.gateway), "refund", lambda _self, request: ChargeOutcome("declined", request.key, error_code="REFUND_FAILED")
        )
        made = refund_own(site, began.payment_id)
    assert made.status == "failed" and payment(site, began.payment_id).refunded_minor == 0
    [open_entry] = [row for row in site.rows(ReconciliationException) if row.closed_at is None]
    assert (open_entry.id, open_entry.reason) == (made.id, "refund_failed")
    assert site.subscription().status == "cancelled", "as it was said; the money is still owed"
    again = refund_own(site, began.payment_id)
    assert again.status == "succeeded" and again.key != made.key, "a failed refund does not count, so the customer may try again"
    site.balanced()


def test_a_crash_after_the_request_is_finished_by_the_worker(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The request and the end of the subscription are one transaction; the refund is sent later under its key."""
    began = site.subscribe()
    with monkeypatch.context() as crash:
        crash.setattr(site.processor, "start_refund", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            refund_own(site, began.payment_id)
    assert [row.status for row in site.rows(Refund)] == ["pending"] and site.subscription().status == "cancelled"
    assert code_of(lambda: refund_own(site, began.payment_id)) == "EXISTING_REFUND_REQUEST_PROCESSING"
    site.overdue()
    site.work()
    assert [row.status for row in site.rows(Refund)] == ["succeeded"]
    site.balanced()


def test_an_error_before_the_commit_leaves_the_subscription(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    began = site.subscribe()
    monkeypatch.setattr(command, "end_at_once", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        refund_own(site, began.payment_id)
    assert site.rows(Refund) == [] and site.subscription().status == "active"


def test_who_may_not(site: Site) -> None:
    bought = site.buy()
    other = site.customer("ben@hill.example")
    page = shown(site, bought.payment_id)
    with pytest.raises(NotFound):
        command.refund_own_payment(site.processor, customer_scope(site, other), bought.payment_id, page)
    with site.database.open(everything("another business"), write=True) as db:
        from billing.customers.businesses import create_business

        other = create_business(db, name="Birch", currency="EUR").business_id
    with pytest.raises(NotFound):
        command.refund_own_payment(site.processor, customer_of(other, site.customer_id), bought.payment_id, page)
    with site.database.open(system(site.business_id), write=True) as db:
        block(db, site.customer_id)
    assert code_of(lambda: refund_own(site, bought.payment_id, page)) == "CUSTOMER_BLOCKED"
    with site.database.open(system(site.business_id), write=True) as db:
        archive_business(db, site.business_id)
    assert code_of(lambda: refund_own(site, bought.payment_id, page)) == "BUSINESS_ARCHIVED"
    assert site.rows(Refund) == []
    with pytest.raises(Invalid):
        refund_own(site, bought.payment_id, page, reason="because")


def test_a_payment_of_another_system_is_refunded_there(site: Site) -> None:
    bought = site.buy()
    with site.database.open(everything("a pulled payment"), write=True) as db:
        row = db.scalars(select(Payment).where(Payment.id == bought.payment_id)).one()
        row.account_id, row.payment_account_id = "acc_dodo", None
    assert assessed(site, bought.payment_id).obstacle == "external"
    assert code_of(lambda: refund_own(site, bought.payment_id)) == "UNSUPPORTED_ACTION"


def test_the_policy_is_validated(site: Site) -> None:
    wrong: list[dict[str, Any]] = [
        {"days": 0}, {"days": 91}, {"days": "x"}, {"months": 37}, {"months": "٣"}, {"answer_days": 21},
        {"answer_days": 0}, {"amount": "half"},
        {"keys": "some"}, {"kinds": []}, {"kinds": ["plan_change"]},
    ]  # fmt: skip
    before = site.rows(Business)[0].settings
    for changes in wrong:
        with site.database.open(system(site.business_id), write=True) as db, pytest.raises(Invalid) as refused:
            change_refund_policy(db, changes)
        assert list(refused.value.fields) == list(changes)
    assert site.rows(Business)[0].settings == before
