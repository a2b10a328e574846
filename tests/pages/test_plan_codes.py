"""Discount codes typed while a plan changes: what the slip shows is taken, a wrong one says so, and nobody finds one by trying."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from auth import budgets
from billing.commands import plan_codes
from billing.commands.addons import create_addon
from billing.commands.buying import subscribe
from billing.commands.discounts import create_discount
from billing.commands.products import create_collection, create_product
from billing.discounts import AT_MOST, Discount
from billing.quotes import Quote
from billing.subscriptions import Subscription
from core.scope import customer_of, everything, system
from tests.cast import MONTHLY
from tests.conftest import Street
from tests.stories.shop import Shop
from tests.visitor import Page, Visitor

pytestmark = pytest.mark.parametrize("street", ["sqlite"], indirect=True, scope="module")  # no engine knows what people type


class Counter:
    """Ada and a plan with an add-on, bought with KEEP (which stays) and GONE (which does not)."""

    def __init__(self, street: Street) -> None:
        self.house, self.street = street.house, street
        with self.house.database.open(system(street.acorn), write=True) as db:
            self.seats = create_addon(db, street.acorn, name="Seats", price=500, currency="EUR").id
            prices = [{**MONTHLY, "price": price} for price in (2900, 8000)]
            small, large = (create_product(db, street.acorn, name=f"Plan {one['price']}", price=one, addons=[self.seats]).id
                            for one in prices)
            create_collection(db, street.acorn, name="Plans with seats", product_ids=[small, large])
            for code, amount, terms in (("KEEP", 1000, {"keeps": True}), ("GONE", 2000, {}), ("NEW", 5000, {"cycles": 1}),
                                        ("LAST", 1000, {"usage_limit": 1}), ("ONCE", 1000, {"per_customer_limit": 1}),
                                        ("SMALL", 1000, {"restricted_to": [small]})):
                create_discount(db, street.acorn, kind="percentage", amount=amount, code=code, **terms)
            for n in range(AT_MOST):
                create_discount(db, street.acorn, kind="percentage", amount=100, code=f"MANY{n}")
        with self.house.database.open(system(street.birch), write=True) as db:
            create_discount(db, street.birch, kind="percentage", amount=9000, code="OTHERS")
        self.small, self.large, buyer = small, large, street.ada_at_acorn
        self.of = "/subscriptions/" + (subscribe(
            self.house.till, system(street.acorn), customer_id=buyer.customer_id, product_id=small, billing={"country": "GB"},
            payment_method_id=buyer.method_id, discount_codes=["KEEP", "GONE"]).subscription_id or "")
        self.ada = Visitor(street.app)
        self.ada.sign_in(street.ADA)

    def slip(self, product: str, **more: Any) -> Page:
        self.ada.get(f"{self.of}/plan-change")
        return self.ada.submit("quotes", product_id=product, **more)

    def apply(self, code: str, expect: int = 200) -> Page:
        return self.press("Apply", code, expect)

    def press(self, button: str, code: str, expect: int = 200) -> Page:
        assert self.ada.page is not None
        form = next(one for one in self.ada.page.soup.find_all("form") if one.button and one.button.get_text(" ", strip=True) == button)
        return self.ada.post(form["action"], {"discount_code": code}, expect=expect)

    def charges(self) -> list[int]:
        return [amount.minor for kind, _, amount in self.house.gateway.movements() if kind == "charge"]

    def row(self, kind: Any, **which: Any) -> Any:
        return Shop(self.house, self.street.acorn).rows(kind, **which)[0]

    def subscription(self) -> Any:
        return self.row(Subscription, id=self.of.rsplit("/", 1)[-1])

    def used(self, code: str) -> int:
        return self.row(Discount, code=code).times_used

    def at_ease(self) -> None:
        with self.house.database.open(everything("a new hour"), write=True) as db:
            db.query(budgets.Budget).delete()


@pytest.fixture(scope="module")
def counter(street: Street) -> Iterator[Counter]:
    yield Counter(street)


def lines(page: Page) -> list[tuple[str, int]]:
    """(words, minor units) of the slip's first list, without the line that says how much of it is tax."""
    rows = page.soup.find(attrs={"aria-labelledby": "quote"}).find("dl").find_all("div", class_=False)
    return [(one.dt.get_text(" ", strip=True), minor(one.dd.get_text())) for one in rows]


def minor(text: str) -> int:
    figure = int(re.sub(r"[^0-9]", "", text))
    return -figure if "\u2212" in text else figure


def refusal(page: Page) -> tuple[str, str]:
    """What stands at the field, and what is still in it."""
    field = page.soup.find("input", {"id": "discount_code"})
    said = page.soup.find(id=field["aria-describedby"])
    assert said["role"] == "alert" and field["aria-invalid"] == "true"
    return said.get_text(strip=True), field.get("value", "")


def test_codes_come_and_go_and_what_is_shown_is_taken(counter: Counter) -> None:
    ada = counter.ada
    page = counter.slip(counter.large, **{f"addon-{counter.seats}": "2"})
    assert "KEEP 10% off every payment From your present plan, stays." in page.text
    assert "GONE 20% off every payment Ends with your present plan." in page.text and page.text.count("Remove") == 1
    before, shown = lines(page), minor(page.form("confirmation").button.get_text())
    assert before[:3] == [("Plan 8000", 9600), ("Seats × 2", 1200), ("KEEP −10%", -1080)]
    assert sum(each for _, each in before) == shown

    unknown, others = refusal(counter.apply("nosuch", 422)), refusal(counter.apply("others", 422))
    assert unknown == ("There is no code NOSUCH here. Look at how it is spelled.", "nosuch")
    assert others == (unknown[0].replace("NOSUCH", "OTHERS"), "others"), "another business's code is no code here"
    assert refusal(counter.apply("small", 422))[0] == "SMALL is not for Plan 8000."
    assert refusal(counter.apply("gone", 422))[0] == "GONE belongs to the plan you have now and ends with it."
    assert refusal(counter.apply(" ", 422))[0] == "Type the code first." and refusal(counter.apply("keep", 422))[0].endswith("already.")

    page = counter.apply(" n e w ")
    assert "NEW is applied." in page.text and "NEW 50% off the next payment" in page.text and "Seats × 2" in page.text
    assert lines(page)[:4] == [*before[:3], ("NEW −50%", -4860)]
    counter.press("Remove KEEP", "KEEP")
    assert "Taken away with this change." in ada.page.text and ("NEW −50%", -5400) in lines(ada.page)

    back = next(one["href"] for one in ada.page.soup.find_all("a", href=True) if "?quote_id=" in one["href"])
    assert ada.get(back).soup.find("input", {"name": f"addon-{counter.seats}"})["value"] == "2"
    page = ada.submit("quotes", **{f"addon-{counter.seats}": "1"})
    assert lines(page)[1:3] == [("Seats", 600), ("NEW −50%", -5100)] and "Taken away with this change." in page.text
    page = counter.press("Keep it KEEP", "KEEP")
    assert [what for what, _ in lines(page)][2:4] == ["NEW −50%", "KEEP −10%"], "in the order they were given"

    shown = minor(page.form("confirmation").button.get_text())
    assert sum(each for _, each in lines(page)) == shown and counter.used("NEW") == 0
    assert "Paid. Plan 8000 is yours now." in ada.submit("confirmation").text
    assert counter.charges()[-1] == shown and counter.used("NEW") == 1
    assert [one["code"] for one in counter.subscription().discounts] == ["NEW", "KEEP"]


def test_a_code_that_waits_or_went_costs_nobody_its_use(counter: Counter) -> None:
    """After the story above: a smaller plan from the next date on. The last use of a code is one person's."""
    counter.slip(counter.small)
    counter.apply("ONCE")
    taken = len(counter.charges())
    page = counter.apply("LAST")
    assert "LAST 10% off every payment" in page.text
    with counter.house.database.open(system(counter.street.acorn), write=True) as db:
        db.query(Discount).filter(Discount.code == "LAST").update({"times_used": 1})
    said, _ = refusal(counter.ada.submit("confirmation", expect=422))
    assert said == "LAST was used up. Nothing was taken. Take it away to go on without it." and len(counter.charges()) == taken
    counter.press("Remove LAST", "LAST")
    assert "begins on" in counter.ada.submit("confirmation").text and counter.used("ONCE") == 1
    counter.ada.submit("revocation")
    assert counter.used("ONCE") == 0 and counter.used("KEEP") == 1, "a change that is not made uses nothing up"
    counter.slip(counter.small)
    assert "ONCE is applied." in counter.apply("ONCE").text


def test_nobody_finds_a_code_by_trying(counter: Counter) -> None:
    counter.at_ease()
    counter.ada.get(f"/business/{counter.street.acorn}{counter.of}/plan-change")
    counter.ada.submit("quotes", product_id=counter.small)
    for n in range(10):
        counter.apply(f"guess{n}", 422)
        if n == 5:
            counter.apply("ONCE")  # a good one does not count
    said, typed = refusal(counter.apply("SMALL", 429))
    assert said.startswith("Too many codes were wrong.") and typed == "SMALL" and counter.ada.page.form("confirmation")
    counter.press("Remove KEEP", "KEEP")
    assert "KEEP is applied." in counter.press("Keep it KEEP", "KEEP").text, "one's own is no guess"
    at, settings = "203.0.113.9", counter.house.settings
    one, two = ({limit.key for limit in budgets.discounts(settings, who, at)} for who in ("one", "two"))
    assert len(one & two) == 1, "what is wrong from one source is counted together, whoever it is"
    counter.at_ease()
    assert "SMALL is applied." in counter.apply("SMALL").text


def test_twenty_are_the_most_and_a_form_names_no_list(counter: Counter) -> None:
    counter.slip(counter.small)
    quote_id = counter.ada.path.rsplit("/", 1)[-1]
    forged = counter.ada.post(f"{counter.ada.path}/discounts", {"discount_code": [f"MANY{n}" for n in range(21)]})
    assert forged.text.count("MANY0") == forged.text.count("MANY") == 3, "the first one alone: said, listed, and its button"
    buyer = customer_of(counter.street.acorn, counter.street.ada_at_acorn.customer_id)
    full = plan_codes.with_codes(counter.house.database, buyer, quote_id, [f"MANY{n}" for n in range(AT_MOST)])
    counter.ada.get(f"{counter.of}/plan-change/quotes/{full}")
    assert refusal(counter.apply("ONCE", 422)) == ("20 codes are the most for one plan.", "ONCE")
    assert len(counter.row(Quote, id=full).discounts) == AT_MOST

    ben, place = Visitor(counter.street.app), counter.ada.path.removesuffix("/discounts")
    ben.sign_in(counter.street.BEN)
    token = ben.get("/profile") and ben.token()
    for act in ("/discounts", "/discounts/removal"):
        ben.post(place + act, {"discount_code": "ONCE", "csrf_token": token}, expect=404)
