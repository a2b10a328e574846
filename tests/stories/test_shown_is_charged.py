"""What a page shows is what the provider takes, to the minor unit: in every currency, in every language, for every change of plan."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest
from babel import Locale
from bs4 import BeautifulSoup

from billing.commands import plan_change
from billing.commands.buying import subscribe
from billing.commands.products import create_collection, create_product
from billing.quotes import Quote
from billing.subscriptions import Subscription
from core.amounts import read_amount
from core.format import money
from core.i18n import COOKIE, supported
from core.money import DISPUTED, exponent, largest
from core.scope import customer_of, system
from tests.cast import MONTHLY
from tests.stories.shop import Shop
from tests.visitor import Visitor

CURRENCIES = sorted(code for code in Locale("en").currencies if code not in DISPUTED)
AMOUNTS = (0, 1, 5, 99, 100, 101, 999, 1000, 123_456, 1_234_567, 1_999_999_999)
LANGUAGES = sorted(supported())


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_amount_reads_back(language: str) -> None:
    assert len(CURRENCIES) > 150 and {exponent(code) for code in CURRENCIES} >= {0, 2, 3}
    for currency in CURRENCIES:
        for minor in (*(one for one in AMOUNTS if one <= largest(currency)), largest(currency)):
            shown = money(minor, currency, language)
            assert read_amount(shown, currency, language) == minor, (shown, minor)
            assert money(-minor, currency, language).count("\u2212") == (minor != 0)


class Counter:
    """Ada, two plans per currency, and what the provider takes."""

    def __init__(self, street: Any) -> None:
        self.street, self.house, self.buyer = street, street.house, street.ada_at_acorn
        self.business, self.scope = system(street.acorn), customer_of(street.acorn, self.buyer.customer_id)
        self.ada = Visitor(street.app)
        self.ada.sign_in(street.ADA)

    def plans(self, currency: str, low: int, high: int) -> tuple[str, str]:
        with self.house.database.open(self.business, write=True) as db:
            prices = ({**MONTHLY, "currency": currency, "price": price} for price in (low, high))
            one, two = (create_product(db, self.street.acorn, name=f"Plan {price['price']}", price=price).id for price in prices)
            create_collection(db, self.street.acorn, name=currency, product_ids=[one, two])
        return one, two

    def subscribe(self, product: str) -> str:
        return subscribe(self.house.till, self.business, customer_id=self.buyer.customer_id, product_id=product, billing={"country": "GB"},
                         payment_method_id=self.buyer.method_id).subscription_id or ""  # fmt: skip

    def taken(self) -> list[Any]:
        return [amount for kind, _, amount in self.house.gateway.movements() if kind == "charge"]

    def row(self, kind: Any, one: str) -> Any:
        return Shop(self.house, self.street.acorn).rows(kind, id=one)[0]


@pytest.fixture(scope="module")
def counter(street: Any) -> Iterator[Counter]:
    yield Counter(street)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("currency", ["JPY", "EUR", "KWD"])
def test_the_slip_the_button_and_the_charge_are_one_figure(counter: Counter, currency: str, language: str) -> None:
    if language != "en" and (not counter.house.database.is_sqlite or currency == "EUR"):
        pytest.skip("words know no engine, and languages are told apart by the other two")
    ada, chance = counter.ada, random.Random(f"{currency}{language}")
    low, high = counter.plans(currency, chance.randrange(1_000, 9_000), chance.randrange(10_001, 1_999_999))
    one = counter.subscribe(low)
    ada.client.set_cookie(COOKIE, language)
    ada.get(f"/subscriptions/{one}/plan-change")
    ada.submit("quotes", product_id=high)
    shown = counter.row(Quote, ada.path.rsplit("/", 1)[1])
    figure = money(shown.due_minor, currency, language)
    button = ada.page.form("confirmation").find("button").get_text()
    assert figure in button and figure in BeautifulSoup(ada.page.body, "html.parser").main.get_text()
    assert money(shown.total_minor, currency, language) in ada.page.soup.main.get_text()
    so_far = counter.taken()
    ada.submit("confirmation")
    [new] = counter.taken()[len(so_far):]
    assert (new.minor, new.currency) == (read_amount(figure, currency, language), currency) == (shown.due_minor, currency)
    assert counter.row(Subscription, one).product_id == high


@pytest.mark.parametrize("mode", ["prorated_immediately", "prorated_immediately_keep_cycle", "difference_immediately", "full_immediately"])
def test_there_and_back_never_profits(counter: Counter, mode: str) -> None:
    """Up and down and up within a moment, with the business's word for how: what is left as credit was paid on the way."""
    if not counter.house.database.is_sqlite and mode != "prorated_immediately":
        pytest.skip("arithmetic knows no engine")
    chance = random.Random(mode)
    for currency in ("JPY", "EUR", "KWD"):
        low, high = counter.plans(currency, chance.randrange(60, 5_000), chance.randrange(5_001, 500_000))
        one, paid = counter.subscribe(low), 0
        first = counter.taken()[-1].minor
        for wanted in (high, low, high):
            with counter.house.database.open(counter.business, write=True) as db:
                shown = plan_change.quote(db, one, wanted, mode=mode, effective_at="immediately")
            so_far = counter.taken()
            assert plan_change.confirm(counter.house.till, counter.business, shown.id).status in ("applied", "succeeded")
            new = counter.taken()[len(so_far):]
            assert [amount.minor for amount in new] == [shown.due_minor] * bool(shown.due_minor)
            paid += sum(amount.minor for amount in new)
            held = counter.row(Subscription, one).credit_minor
            assert held <= paid and shown.unused_minor <= first + paid, (currency, mode, held, paid)
