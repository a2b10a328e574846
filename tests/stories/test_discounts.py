"""Discount codes: charges match the shown discount, for the set number of periods and uses."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from billing.catalogue.discount_codes import create_discount, delete_discount
from billing.catalogue.products import create_product
from billing.model.discounts import Discount, Redemption
from billing.model.invoices import Invoice, InvoiceLine
from billing.model.payments import Payment
from billing.model.subscriptions import Subscription
from billing.plan_changes import confirm as confirm_plan_change
from billing.plan_changes.business_order import PlanChangeOrder, order, preview
from billing.pricing.tax_setup import from_rates
from billing.renewals.notices import next_amount
from billing.subscriptions.subscribe import buy, subscribe
from core import clock
from core.errors import Invalid
from core.scope import everything, system
from tests.stories.business_and_buyer import Site

ONCE = {"type": "one_time_price", "currency": "EUR", "price": 1000}
DECLINED = "4000000000000002"


@pytest.fixture
def site(processor_services: Any) -> Site:
    return Site.open(processor_services)


def code(site: Site, amount: int = 2000, kind: str = "percentage", **terms: Any) -> str:
    with site.database.open(system(site.business_id), write=True) as db:
        return create_discount(db, site.business_id, kind=kind, amount=amount, code=terms.pop("code", "WELCOME"), **terms).id


def begin(site: Site, *codes: str, price: int = 2900, card: str = "4242424242424242", **more: Any) -> Any:
    began = subscribe(
        site.processor,
        system(site.business_id),
        customer_id=site.customer_id,
        payment_method_id=site.card(number=card),
        product_id=more.pop("product_id", None) or site.product(site.monthly(price)),
        billing={"country": "GB"},
        discount_codes=codes,
        **more,
    )
    site.subscription_id = began.subscription_id or ""
    return began


def tax(site: Site, rates: dict[str, int]) -> None:
    from billing.model.parties import Business

    with site.database.open(everything("tax of a story"), write=True) as db:
        db.scalar(select(Business)).tax_setup = from_rates(rates)


def used(site: Site, discount_id: str) -> int:
    return site.rows(Discount, id=discount_id)[0].times_used


def test_a_percentage_for_two_periods_is_charged_as_shown(site: Site) -> None:
    tax(site, {"GB": 2000})
    welcome = code(site, cycles=2)
    began = begin(site, "welcome")
    assert began.total_minor == 2784 and site.charges() == [2784] and used(site, welcome) == 1  # (2900 − 20 %) + 20 % tax
    for _ in range(3):
        with site.database.open(system(site.business_id)) as db:
            told = next_amount(db, db.scalar(select(Subscription)))
        site.pass_period()
        assert site.charges()[-1] == told, "the reminder named another amount than was charged"
    assert site.charges() == [2784, 2784, 3480, 3480]
    lines = {row.invoice_id: row for row in site.rows(InvoiceLine)}
    bills = sorted(site.rows(Invoice), key=lambda row: row.number)
    assert [lines[bill.id].description for bill in bills] == ["Team (WELCOME −20 %)"] * 2 + ["Team"] * 2
    assert [(lines[bill.id].unit_minor, lines[bill.id].net_minor, lines[bill.id].tax_minor) for bill in bills[:2]] == [
        (2900, 2320, 464)
    ] * 2
    assert [len(row.discounts) for row in sorted(site.rows(Payment), key=lambda row: row.created_at)] == [1, 1, 0, 0]
    site.balanced()


def test_changing_a_code_does_not_change_existing_discounts(site: Site) -> None:
    discount_id = code(site, 5000)
    begin(site, "WELCOME")
    with site.database.open(system(site.business_id), write=True) as db:
        delete_discount(db, discount_id)
    site.pass_period()
    assert site.charges() == [1450, 1450]
    with pytest.raises(Invalid, match="INVALID_DISCOUNT_CODE"):
        begin(site, "WELCOME")


def test_a_trial_does_not_count_as_a_discounted_period(site: Site) -> None:
    code(site, cycles=1)
    assert begin(site, "WELCOME", trial_days=14).total_minor == 0
    for _ in range(2):
        site.pass_period()
    assert site.charges() == [2320, 2900]


def test_a_full_discount_leaves_nothing_to_pay(site: Site) -> None:
    code(site, 10_000, cycles=2)
    assert begin(site, "WELCOME").total_minor == 0 and site.subscription().status == "active"
    site.pass_period()
    assert site.charges() == [] and site.subscription().period_n == 2
    site.pass_period()
    assert site.charges() == [2900]


def test_codes_stack_and_an_amount_is_spread_without_losing_a_unit(site: Site) -> None:
    code(site, 1000, code="TENTH")
    code(
        site,
        500,
        "flat",
        code="FIVER",
        currencies=[{"currency": "EUR", "is_default": True, "max_amount_possible": 500, "minimum_subtotal": 2000}],
    )
    products = [site.product(ONCE) for _ in range(3)]
    bought = buy(
        site.processor,
        system(site.business_id),
        customer_id=site.customer_id,
        cart=[(item, 1) for item in products],
        payment_method_id=site.card(),
        discount_codes=["TENTH", "FIVER"],
    )
    assert bought.total_minor == 2200 and sorted(row.net_minor for row in site.rows(InvoiceLine)) == [733, 733, 734]
    small = buy(
        site.processor,
        system(site.business_id),
        customer_id=site.customer_id,
        cart=[(products[0], 1)],
        payment_method_id=site.card(),
        discount_codes=["FIVER"],
    )
    assert small.total_minor == 1000, "below what the code asks for it takes nothing off"
    site.balanced()


def test_a_code_for_one_product_does_not_discount_others(site: Site) -> None:
    mine, other = site.product(ONCE), site.product(ONCE)
    code(site, 5000, restricted_to=[mine])
    both = buy(
        site.processor,
        system(site.business_id),
        customer_id=site.customer_id,
        cart=[(mine, 1), (other, 2)],
        payment_method_id=site.card(),
        discount_codes=["WELCOME"],
    )
    assert both.total_minor == 2500
    with pytest.raises(Invalid, match="DISCOUNT_NOT_AVAILABLE_FOR_PRODUCT"):
        buy(site.processor, system(site.business_id), customer_id=site.customer_id, cart=[(other, 1)], discount_codes=["WELCOME"])


def test_only_one_customer_gets_the_last_use(site: Site) -> None:
    last = code(site, usage_limit=1)
    product, method = site.product(ONCE), site.card()
    said: list[str] = []

    def go() -> None:
        try:
            buy(
                site.processor,
                system(site.business_id),
                customer_id=site.customer_id,
                cart=[(product, 1)],
                payment_method_id=method,
                discount_codes=["WELCOME"],
            )
            said.append("bought")
        except Invalid as refused:
            said.append(refused.code)

    threads = [threading.Thread(target=go) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(said) == ["DISCOUNT_CODE_USAGE_LIMIT_EXCEEDED"] * 3 + ["bought"] and used(site, last) == 1
    assert site.charges() == [800]
    site.balanced()


def test_an_unpaid_purchase_releases_the_code(site: Site) -> None:
    once = code(site, usage_limit=1, per_customer_limit=1)
    assert begin(site, "WELCOME", card=DECLINED).status == "failed"
    assert used(site, once) == 0 and not site.rows(Redemption)
    assert begin(site, "WELCOME").status == "succeeded" and used(site, once) == 1


@pytest.mark.parametrize(
    ("terms", "refused"),
    [
        ({"expires_at": timedelta(days=-1), "starts_at": timedelta(days=-2)}, "DISCOUNT_CODE_EXPIRED"),
        ({"starts_at": timedelta(days=1)}, "DISCOUNT_NOT_YET_ACTIVE"),
        ({"eligibility": "existing"}, "DISCOUNT_CUSTOMER_NOT_ELIGIBLE"),
        (
            {"currencies": [{"currency": "USD", "is_default": True, "max_amount_possible": 500, "minimum_subtotal": 0}], "kind": "flat"},
            "DISCOUNT_NOT_AVAILABLE_FOR_PRODUCT",
        ),
    ],
)
def test_a_refused_code_names_the_reason(site: Site, terms: dict[str, Any], refused: str) -> None:
    code(site, **{name: clock.now() + value if isinstance(value, timedelta) else value for name, value in terms.items()})
    with pytest.raises(Invalid, match=refused):
        begin(site, "WELCOME")
    assert not site.rows(Payment), "a refused code leaves nothing behind"


def test_the_limit_per_customer(site: Site) -> None:
    code(site, per_customer_limit=1)
    code(site, code="FIRST", eligibility="first_time")
    begin(site, "WELCOME", "FIRST")
    for again, why in (("WELCOME", "DISCOUNT_PER_CUSTOMER_USAGE_LIMIT_EXCEEDED"), ("FIRST", "DISCOUNT_CUSTOMER_NOT_ELIGIBLE")):
        with pytest.raises(Invalid, match=why):
            begin(site, again)


@pytest.mark.parametrize("mode", ["prorated_immediately", "prorated_immediately_keep_cycle", "difference_immediately", "full_immediately"])
def test_a_plan_change_shows_charges_and_renews_with_the_same_discounts(site: Site, mode: str) -> None:
    """KEEP stays, GONE ends, NEW applies to one billed period; the quote contains the charge and the renewal after it."""
    kept, _gone, added = (code(site, 1000, code="KEEP", keeps=True), code(site, 2000, code="GONE"), code(site, 5000, code="NEW", cycles=1))
    begin(site, "KEEP", "GONE")
    assert site.charges() == [2088]  # 2900 − 10 % − 20 %
    clock.turn(clock.offset() + timedelta(days=15))
    with site.database.open(system(site.business_id), write=True) as db:
        bigger = create_product(db, site.business_id, name="Max", price=site.monthly(8000)).id
    plan_order = PlanChangeOrder(bigger, 1, (), mode, codes=("KEEP", "NEW"))
    with site.database.open(system(site.business_id)) as db:
        seen = preview(db, site.subscription_id, plan_order).quote
    done = order(site.processor, system(site.business_id), site.subscription_id, plan_order)
    assert done.status == "succeeded" and abs(site.charges()[-1] - seen.due_minor) <= 1  # a second may have passed
    row = site.subscription()
    assert [discount["code"] for discount in row.discounts] == ["KEEP", "NEW"] and used(site, added) == 1 and used(site, kept) == 1
    site.pass_period()
    assert site.charges()[-1] == seen.next_renewal_minor == 7200  # NEW was for one period; KEEP stays
    site.balanced()


def test_a_change_by_the_customer_keeps_permanent_codes(site: Site) -> None:
    code(site, 1000, code="KEEP", keeps=True)
    code(site, 2000, code="GONE")
    begin(site, "KEEP", "GONE")
    with site.database.open(system(site.business_id), write=True) as db:
        bigger = create_product(db, site.business_id, name="Max", price=site.monthly(8000)).id
        shown = confirm_plan_change.quote(db, site.subscription_id, bigger, mode="full_immediately", effective_at="next_billing_date")
    assert shown.next_renewal_minor == 7200
    confirm_plan_change.confirm(site.processor, system(site.business_id), shown.id)
    assert site.charges() == [2088]
    site.pass_period()
    assert site.charges()[-1] == 7200 and [discount["code"] for discount in site.subscription().discounts] == ["KEEP"]
