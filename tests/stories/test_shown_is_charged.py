"""The amount on a page is the amount charged, to the minor unit: in every currency and language, for every plan change."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest
from babel import Locale
from bs4 import BeautifulSoup

from billing.catalogue.products import create_collection, create_product
from billing.model.quotes import Quote
from billing.model.subscriptions import Subscription
from billing.plan_changes import confirm as confirm_plan_change
from billing.subscriptions.subscribe import subscribe
from core.amount_input import read_amount
from core.formatting import money
from core.i18n import COOKIE, supported
from core.money import DISPUTED, exponent, largest
from core.scope import customer_of, system
from tests.cast import MONTHLY
from tests.stories.business_and_buyer import Site
from tests.visitor import Visitor

CURRENCIES = sorted(code for code in Locale("en").currencies if code not in DISPUTED)
AMOUNTS = (0, 1, 5, 99, 100, 101, 999, 1000, 123_456, 1_234_567, 1_999_999_999)
LANGUAGES = sorted(supported())


@pytest.mark.parametrize("language", LANGUAGES)
def test_formatted_amounts_parse_to_the_same_value(language: str) -> None:
    assert len(CURRENCIES) > 150 and {exponent(code) for code in CURRENCIES} >= {0, 2, 3}
    for currency in CURRENCIES:
        for minor in (*(item for item in AMOUNTS if item <= largest(currency)), largest(currency)):
            shown = money(minor, currency, language)
            assert read_amount(shown, currency, language) == minor, (shown, minor)
            assert money(-minor, currency, language).count("\u2212") == (minor != 0)


class Counter:
    """Ada, two plans per currency, and the provider's charges."""

    def __init__(self, street: Any) -> None:
        self.street, self.services, self.buyer = street, street.services, street.ada_at_acorn
        self.business, self.scope = system(street.acorn), customer_of(street.acorn, self.buyer.customer_id)
        self.ada = Visitor(street.app)
        self.ada.sign_in(street.ADA)

    def plans(self, currency: str, low: int, high: int) -> tuple[str, str]:
        with self.services.database.open(self.business, write=True) as db:
            prices = ({**MONTHLY, "currency": currency, "price": price} for price in (low, high))
            item, two = (create_product(db, self.street.acorn, name=f"Plan {price['price']}", price=price).id for price in prices)
            create_collection(db, self.street.acorn, name=currency, product_ids=[item, two])
        return item, two

    def subscribe(self, product: str) -> str:
        return (
            subscribe(
                self.services.processor,
                self.business,
                customer_id=self.buyer.customer_id,
                product_id=product,
                billing={"country": "GB"},
                payment_method_id=self.buyer.method_id,
            ).subscription_id
            or ""
        )

    def taken(self) -> list[Any]:
        return [amount for kind, _, amount in self.services.gateway.movements() if kind == "charge"]

    def row(self, kind: Any, item: str) -> Any:
        return Site(self.services, self.street.acorn).rows(kind, id=item)[0]


@pytest.fixture(scope="module")
def counter(street: Any) -> Iterator[Counter]:
    yield Counter(street)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("currency", ["JPY", "EUR", "KWD"])
def test_quote_button_and_charge_are_equal(counter: Counter, currency: str, language: str) -> None:
    if language != "en" and (not counter.services.database.is_sqlite or currency == "EUR"):
        pytest.skip("words know no engine, and languages are told apart by the other two")
    ada, chance = counter.ada, random.Random(f"{currency}{language}")
    low, high = counter.plans(currency, chance.randrange(1_000, 9_000), chance.randrange(10_001, 1_999_999))
    item = counter.subscribe(low)
    ada.client.set_cookie(COOKIE, language)
    ada.get(f"/subscriptions/{item}/plan-change")
    ada.submit("quotes", product_id=high)
    shown = counter.row(Quote, ada.path.rsplit("/", 1)[1])
    figure = money(shown.due_minor, currency, language)
    button = ada.page.form("confirmation").find("button").get_text()
    assert figure in button and figure in BeautifulSoup(ada.page.body, "html.parser").main.get_text()
    assert money(shown.total_minor, currency, language) in ada.page.soup.main.get_text()
    so_far = counter.taken()
    ada.submit("confirmation")
    [new] = counter.taken()[len(so_far) :]
    assert (new.minor, new.currency) == (read_amount(figure, currency, language), currency) == (shown.due_minor, currency)
    assert counter.row(Subscription, item).product_id == high


@pytest.mark.parametrize("mode", ["prorated_immediately", "prorated_immediately_keep_cycle", "difference_immediately", "full_immediately"])
def test_changing_back_and_forth_gains_no_credit(counter: Counter, mode: str) -> None:
    """Change up, down and up again at once in each mode: the remaining credit was paid for."""
    if not counter.services.database.is_sqlite and mode != "prorated_immediately":
        pytest.skip("arithmetic knows no engine")
    chance = random.Random(mode)
    for currency in ("JPY", "EUR", "KWD"):
        low, high = counter.plans(currency, chance.randrange(60, 5_000), chance.randrange(5_001, 500_000))
        item, paid = counter.subscribe(low), 0
        first = counter.taken()[-1].minor
        for wanted in (high, low, high):
            with counter.services.database.open(counter.business, write=True) as db:
                shown = confirm_plan_change.quote(db, item, wanted, mode=mode, effective_at="immediately")
            so_far = counter.taken()
            assert confirm_plan_change.confirm(counter.services.processor, counter.business, shown.id).status in ("applied", "succeeded")
            new = counter.taken()[len(so_far) :]
            assert [amount.minor for amount in new] == [shown.due_minor] * bool(shown.due_minor)
            paid += sum(amount.minor for amount in new)
            held = counter.row(Subscription, item).credit_minor
            assert held <= paid and shown.unused_minor <= first + paid, (currency, mode, held, paid)
