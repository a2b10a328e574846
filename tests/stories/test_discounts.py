"""Codes: what they take off is what is charged, for as long as they say, and never more often than they say."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from billing import dunning
from billing.commands import plan_change
from billing.commands.buying import buy, subscribe
from billing.commands.discounts import create_discount, delete_discount
from billing.commands.plan_order import Order, order, preview
from billing.commands.products import create_product
from billing.discounts import Discount, Redemption
from billing.invoices import Invoice, InvoiceLine
from billing.payments import Payment
from billing.subscriptions import Subscription
from core import clock
from core.errors import Invalid
from core.scope import everything, system
from tests.stories.shop import Shop

ONCE = {"type": "one_time_price", "currency": "EUR", "price": 1000}
DECLINED = "4000000000000002"


@pytest.fixture
def shop(till_house: Any) -> Shop:
    return Shop.open(till_house)


def code(shop: Shop, amount: int = 2000, kind: str = "percentage", **terms: Any) -> str:
    with shop.database.open(system(shop.business_id), write=True) as db:
        return create_discount(db, shop.business_id, kind=kind, amount=amount, code=terms.pop("code", "WELCOME"), **terms).id


def begin(shop: Shop, *codes: str, price: int = 2900, card: str = "4242424242424242", **more: Any) -> Any:
    began = subscribe(shop.till, system(shop.business_id), customer_id=shop.customer_id, payment_method_id=shop.card(number=card),
                      product_id=more.pop("product_id", None) or shop.product(shop.monthly(price)), billing={"country": "GB"},
                      discount_codes=codes, **more)
    shop.subscription_id = began.subscription_id or ""
    return began


def tax(shop: Shop, rates: dict[str, int]) -> None:
    from billing.parties import Business

    with shop.database.open(everything("tax of a story"), write=True) as db:
        db.scalar(select(Business)).tax_rates = rates


def used(shop: Shop, discount_id: str) -> int:
    return shop.rows(Discount, id=discount_id)[0].times_used


def test_a_share_for_two_periods_is_what_is_charged_and_shown(shop: Shop) -> None:
    tax(shop, {"GB": 2000})
    welcome = code(shop, cycles=2)
    began = begin(shop, "welcome")
    assert began.total_minor == 2784 and shop.charges() == [2784] and used(shop, welcome) == 1  # (2900 − 20 %) + 20 % tax
    for _ in range(3):
        with shop.database.open(system(shop.business_id)) as db:
            told = dunning._next_amount(db, db.scalar(select(Subscription)))
        shop.pass_period()
        assert shop.charges()[-1] == told, "the reminder named another amount than was charged"
    assert shop.charges() == [2784, 2784, 3480, 3480]
    lines = {one.invoice_id: one for one in shop.rows(InvoiceLine)}
    bills = sorted(shop.rows(Invoice), key=lambda one: one.number)
    assert [lines[one.id].description for one in bills] == ["Team (WELCOME −20 %)"] * 2 + ["Team"] * 2
    assert [(lines[one.id].unit_minor, lines[one.id].net_minor, lines[one.id].tax_minor) for one in bills[:2]] == [(2900, 2320, 464)] * 2
    assert [len(one.discounts) for one in sorted(shop.rows(Payment), key=lambda one: one.created_at)] == [1, 1, 0, 0]
    shop.balanced()


def test_what_was_given_stays_as_it_was(shop: Shop) -> None:
    discount_id = code(shop, 5000)
    begin(shop, "WELCOME")
    with shop.database.open(system(shop.business_id), write=True) as db:
        delete_discount(db, discount_id)
    shop.pass_period()
    assert shop.charges() == [1450, 1450]
    with pytest.raises(Invalid, match="INVALID_DISCOUNT_CODE"):
        begin(shop, "WELCOME")


def test_a_trial_uses_up_no_period(shop: Shop) -> None:
    code(shop, cycles=1)
    assert begin(shop, "WELCOME", trial_days=14).total_minor == 0
    for _ in range(2):
        shop.pass_period()
    assert shop.charges() == [2320, 2900]


def test_all_of_it_is_nothing_to_pay(shop: Shop) -> None:
    code(shop, 10_000, cycles=2)
    assert begin(shop, "WELCOME").total_minor == 0 and shop.subscription().status == "active"
    shop.pass_period()
    assert shop.charges() == [] and shop.subscription().period_n == 2
    shop.pass_period()
    assert shop.charges() == [2900]


def test_codes_stack_and_an_amount_is_spread_without_losing_a_unit(shop: Shop) -> None:
    code(shop, 1000, code="TENTH")
    code(shop, 500, "flat", code="FIVER", currencies=[
        {"currency": "EUR", "is_default": True, "max_amount_possible": 500, "minimum_subtotal": 2000}])
    products = [shop.product(ONCE) for _ in range(3)]
    bought = buy(shop.till, system(shop.business_id), customer_id=shop.customer_id, cart=[(one, 1) for one in products],
                 payment_method_id=shop.card(), discount_codes=["TENTH", "FIVER"])
    assert bought.total_minor == 2200 and sorted(one.net_minor for one in shop.rows(InvoiceLine)) == [733, 733, 734]
    small = buy(shop.till, system(shop.business_id), customer_id=shop.customer_id, cart=[(products[0], 1)],
                payment_method_id=shop.card(), discount_codes=["FIVER"])
    assert small.total_minor == 1000, "below what the code asks for it takes nothing off"
    shop.balanced()


def test_a_code_for_one_product_leaves_the_others_alone(shop: Shop) -> None:
    mine, other = shop.product(ONCE), shop.product(ONCE)
    code(shop, 5000, restricted_to=[mine])
    both = buy(shop.till, system(shop.business_id), customer_id=shop.customer_id, cart=[(mine, 1), (other, 2)],
               payment_method_id=shop.card(), discount_codes=["WELCOME"])
    assert both.total_minor == 2500
    with pytest.raises(Invalid, match="DISCOUNT_NOT_AVAILABLE_FOR_PRODUCT"):
        buy(shop.till, system(shop.business_id), customer_id=shop.customer_id, cart=[(other, 1)], discount_codes=["WELCOME"])


def test_the_last_use_is_one_persons(shop: Shop) -> None:
    last = code(shop, usage_limit=1)
    product, method = shop.product(ONCE), shop.card()
    said: list[str] = []

    def go() -> None:
        try:
            buy(shop.till, system(shop.business_id), customer_id=shop.customer_id, cart=[(product, 1)], payment_method_id=method,
                discount_codes=["WELCOME"])
            said.append("bought")
        except Invalid as refused:
            said.append(refused.code)

    threads = [threading.Thread(target=go) for _ in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert sorted(said) == ["DISCOUNT_CODE_USAGE_LIMIT_EXCEEDED"] * 3 + ["bought"] and used(shop, last) == 1
    assert shop.charges() == [800]
    shop.balanced()


def test_a_payment_that_is_not_made_gives_the_code_back(shop: Shop) -> None:
    once = code(shop, usage_limit=1, per_customer_limit=1)
    assert begin(shop, "WELCOME", card=DECLINED).status == "failed"
    assert used(shop, once) == 0 and not shop.rows(Redemption)
    assert begin(shop, "WELCOME").status == "succeeded" and used(shop, once) == 1


@pytest.mark.parametrize(("terms", "refused"), [
    ({"expires_at": timedelta(days=-1), "starts_at": timedelta(days=-2)}, "DISCOUNT_CODE_EXPIRED"),
    ({"starts_at": timedelta(days=1)}, "DISCOUNT_NOT_YET_ACTIVE"),
    ({"eligibility": "existing"}, "DISCOUNT_CUSTOMER_NOT_ELIGIBLE"),
    ({"currencies": [{"currency": "USD", "is_default": True, "max_amount_possible": 500, "minimum_subtotal": 0}], "kind": "flat"},
     "DISCOUNT_NOT_AVAILABLE_FOR_PRODUCT"),
])
def test_whom_it_is_not_for_is_told_why(shop: Shop, terms: dict[str, Any], refused: str) -> None:
    code(shop, **{name: clock.now() + value if isinstance(value, timedelta) else value for name, value in terms.items()})
    with pytest.raises(Invalid, match=refused):
        begin(shop, "WELCOME")
    assert not shop.rows(Payment), "a refused code leaves nothing behind"


def test_a_customer_uses_it_as_often_as_it_says(shop: Shop) -> None:
    code(shop, per_customer_limit=1)
    code(shop, code="FIRST", eligibility="first_time")
    begin(shop, "WELCOME", "FIRST")
    for again, why in (("WELCOME", "DISCOUNT_PER_CUSTOMER_USAGE_LIMIT_EXCEEDED"), ("FIRST", "DISCOUNT_CUSTOMER_NOT_ELIGIBLE")):
        with pytest.raises(Invalid, match=why):
            begin(shop, again)


@pytest.mark.parametrize("mode", ["prorated_immediately", "prorated_immediately_keep_cycle", "difference_immediately", "full_immediately"])
def test_a_plan_change_shows_charges_and_renews_with_the_same_discounts(shop: Shop, mode: str) -> None:
    """KEEP stays, GONE goes, NEW comes along for one billed period; the quote names the charge and the renewal after it."""
    kept, _gone, added = (code(shop, 1000, code="KEEP", keeps=True), code(shop, 2000, code="GONE"), code(shop, 5000, code="NEW", cycles=1))
    begin(shop, "KEEP", "GONE")
    assert shop.charges() == [2088]  # 2900 − 10 % − 20 %
    clock.turn(clock.offset() + timedelta(days=15))
    with shop.database.open(system(shop.business_id), write=True) as db:
        bigger = create_product(db, shop.business_id, name="Max", price=shop.monthly(8000)).id
    wish = Order(bigger, 1, (), mode, codes=("KEEP", "NEW"))
    with shop.database.open(system(shop.business_id)) as db:
        seen = preview(db, shop.subscription_id, wish).quote
    done = order(shop.till, system(shop.business_id), shop.subscription_id, wish)
    assert done.status == "succeeded" and abs(shop.charges()[-1] - seen.due_minor) <= 1  # a second may have passed
    row = shop.subscription()
    assert [one["code"] for one in row.discounts] == ["KEEP", "NEW"] and used(shop, added) == 1 and used(shop, kept) == 1
    shop.pass_period()
    assert shop.charges()[-1] == seen.next_renewal_minor == 7200  # NEW was for one period; KEEP stays
    shop.balanced()


def test_a_customers_own_change_keeps_what_may_stay(shop: Shop) -> None:
    code(shop, 1000, code="KEEP", keeps=True)
    code(shop, 2000, code="GONE")
    begin(shop, "KEEP", "GONE")
    with shop.database.open(system(shop.business_id), write=True) as db:
        bigger = create_product(db, shop.business_id, name="Max", price=shop.monthly(8000)).id
        shown = plan_change.quote(db, shop.subscription_id, bigger, mode="full_immediately", effective_at="next_billing_date")
    assert shown.next_renewal_minor == 7200
    plan_change.confirm(shop.till, system(shop.business_id), shown.id)
    assert shop.charges() == [2088]
    shop.pass_period()
    assert shop.charges()[-1] == 7200 and [one["code"] for one in shop.subscription().discounts] == ["KEEP"]
