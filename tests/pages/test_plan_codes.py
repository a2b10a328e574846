"""Discount codes in a plan change: the reviewed amount is charged, an invalid code gives an error, and guesses are limited."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from auth import rate_limits
from billing.catalogue.addons import create_addon
from billing.catalogue.discount_codes import create_discount
from billing.catalogue.products import create_collection, create_product
from billing.model.discounts import AT_MOST, Discount
from billing.model.quotes import Quote
from billing.model.subscriptions import Subscription
from billing.plan_changes import discount_codes as plan_change_discount_codes
from billing.subscriptions.subscribe import subscribe
from core.scope import customer_of, everything, system
from tests.cast import MONTHLY
from tests.conftest import Street
from tests.stories.business_and_buyer import Site
from tests.visitor import Page, Visitor

pytestmark = pytest.mark.parametrize("street", ["sqlite"], indirect=True, scope="module")  # the engine does not matter here


class Counter:
    """Ada and a plan with an add-on, bought with KEEP (which stays) and GONE (which does not)."""

    def __init__(self, street: Street) -> None:
        self.services, self.street = street.services, street
        with self.services.database.open(system(street.acorn), write=True) as db:
            self.seats = create_addon(db, street.acorn, name="Seats", price=500, currency="EUR").id
            prices = [{**MONTHLY, "price": price} for price in (2900, 8000)]
            small, large = (
                create_product(db, street.acorn, name=f"Plan {item['price']}", price=item, addons=[self.seats]).id for item in prices
            )
            create_collection(db, street.acorn, name="Plans with seats", product_ids=[small, large])
            for code, amount, terms in (
                ("KEEP", 1000, {"keeps": True}),
                ("GONE", 2000, {}),
                ("NEW", 5000, {"cycles": 1}),
                ("LAST", 1000, {"usage_limit": 1}),
                ("ONCE", 1000, {"per_customer_limit": 1}),
                ("SMALL", 1000, {"restricted_to": [small]}),
            ):
                create_discount(db, street.acorn, kind="percentage", amount=amount, code=code, **terms)
            for n in range(AT_MOST):
                create_discount(db, street.acorn, kind="percentage", amount=100, code=f"MANY{n}")
        with self.services.database.open(system(street.birch), write=True) as db:
            create_discount(db, street.birch, kind="percentage", amount=9000, code="OTHERS")
        self.small, self.large, buyer = small, large, street.ada_at_acorn
        self.of = "/subscriptions/" + (
            subscribe(
                self.services.processor,
                system(street.acorn),
                customer_id=buyer.customer_id,
                product_id=small,
                billing={"country": "GB"},
                payment_method_id=buyer.method_id,
                discount_codes=["KEEP", "GONE"],
            ).subscription_id
            or ""
        )
        self.ada = Visitor(street.app)
        self.ada.sign_in(street.ADA)

    def slip(self, product: str, **more: Any) -> Page:
        self.ada.get(f"{self.of}/plan-change")
        return self.ada.submit("quotes", product_id=product, **more)

    def apply(self, code: str, expect: int = 200) -> Page:
        return self.press("Apply", code, expect)

    def press(self, button: str, code: str, expect: int = 200) -> Page:
        assert self.ada.page is not None
        form = next(item for item in self.ada.page.soup.find_all("form") if item.button and item.button.get_text(" ", strip=True) == button)
        return self.ada.post(form["action"], {"discount_code": code}, expect=expect)

    def charges(self) -> list[int]:
        return [amount.minor for kind, _, amount in self.services.gateway.movements() if kind == "charge"]

    def row(self, kind: Any, **which: Any) -> Any:
        return Site(self.services, self.street.acorn).rows(kind, **which)[0]

    def subscription(self) -> Any:
        return self.row(Subscription, id=self.of.rsplit("/", 1)[-1])

    def used(self, code: str) -> int:
        return self.row(Discount, code=code).times_used

    def two_accounts(self) -> None:
        with self.services.database.open(everything("a new hour"), write=True) as db:
            db.query(rate_limits.RateLimitCount).delete()


@pytest.fixture(scope="module")
def counter(street: Street) -> Iterator[Counter]:
    yield Counter(street)


def lines(page: Page) -> list[tuple[str, int]]:
    """Return (text, minor units) of the quote's lines, without the line for the included tax."""
    rows = page.soup.find(attrs={"aria-labelledby": "quote"}).find("dl").find_all("div", class_=False)
    return [(row.dt.get_text(" ", strip=True), minor(row.dd.get_text())) for row in rows]


def minor(text: str) -> int:
    figure = int(re.sub(r"[^0-9]", "", text))
    return -figure if "\u2212" in text else figure


def refusal(page: Page) -> tuple[str, str]:
    """Return the error at the field and the value in it."""
    field = page.soup.find("input", {"id": "discount_code"})
    said = page.soup.find(id=field["aria-describedby"])
    assert said["role"] == "alert" and field["aria-invalid"] == "true"
    return said.get_text(strip=True), field.get("value", "")


def test_codes_are_added_and_removed_and_the_shown_amount_is_charged(counter: Counter) -> None:
    ada = counter.ada
    page = counter.slip(counter.large, **{f"addon-{counter.seats}": "2"})
    assert "KEEP 10% off every payment From your current plan. It continues." in page.text
    assert "GONE 20% off every payment Ends with your current plan." in page.text and page.text.count("Remove") == 1
    before, shown = lines(page), minor(page.form("confirmation").button.get_text())
    assert before[:3] == [("Plan 8000", 9600), ("Seats × 2", 1200), ("KEEP −10%", -1080)]
    assert sum(each for _, each in before) == shown

    unknown, others = refusal(counter.apply("nosuch", 422)), refusal(counter.apply("others", 422))
    assert unknown == ("We don’t recognize the code NOSUCH. Check the spelling.", "nosuch")
    assert others == (unknown[0].replace("NOSUCH", "OTHERS"), "others"), "another business's code is no code here"
    assert refusal(counter.apply("small", 422))[0] == "SMALL doesn’t apply to Plan 8000."
    assert refusal(counter.apply("gone", 422))[0] == "GONE belongs to your current plan and ends with it."
    assert refusal(counter.apply(" ", 422))[0] == "Enter a discount code." and refusal(counter.apply("keep", 422))[0].endswith(
        "already applied."
    )

    page = counter.apply(" n e w ")
    assert "NEW was applied." in page.text and "NEW 50% off the next payment" in page.text and "Seats × 2" in page.text
    assert lines(page)[:4] == [*before[:3], ("NEW −50%", -4860)]
    counter.press("Remove KEEP", "KEEP")
    assert "Removed with this change." in ada.page.text and ("NEW −50%", -5400) in lines(ada.page)

    back = next(item["href"] for item in ada.page.soup.find_all("a", href=True) if "?quote_id=" in item["href"])
    assert ada.get(back).soup.find("input", {"name": f"addon-{counter.seats}"})["value"] == "2"
    page = ada.submit("quotes", **{f"addon-{counter.seats}": "1"})
    assert lines(page)[1:3] == [("Seats", 600), ("NEW −50%", -5100)] and "Removed with this change." in page.text
    page = counter.press("Keep code KEEP", "KEEP")
    assert [what for what, _ in lines(page)][2:4] == ["NEW −50%", "KEEP −10%"], "in the order they were given"

    shown = minor(page.form("confirmation").button.get_text())
    assert sum(each for _, each in lines(page)) == shown and counter.used("NEW") == 0
    assert "Paid. You’re now on Plan 8000." in ada.submit("confirmation").text
    assert counter.charges()[-1] == shown and counter.used("NEW") == 1
    assert [discount["code"] for discount in counter.subscription().discounts] == ["NEW", "KEEP"]


def test_an_unused_or_removed_code_is_not_counted(counter: Counter) -> None:
    """A smaller plan from the next date on. The last use of a code goes to one person."""
    counter.slip(counter.small)
    counter.apply("ONCE")
    taken = len(counter.charges())
    page = counter.apply("LAST")
    assert "LAST 10% off every payment" in page.text
    with counter.services.database.open(system(counter.street.acorn), write=True) as db:
        db.query(Discount).filter(Discount.code == "LAST").update({"times_used": 1})
    said, _ = refusal(counter.ada.submit("confirmation", expect=422))
    assert (
        said == "LAST has reached its usage limit. You weren’t charged. Remove it to continue without it."
        and len(counter.charges()) == taken
    )
    counter.press("Remove LAST", "LAST")
    assert " starts on " in counter.ada.submit("confirmation").text and counter.used("ONCE") == 1
    counter.ada.submit("revocation")
    assert counter.used("ONCE") == 0 and counter.used("KEEP") == 1, "a change that is not made uses nothing up"
    counter.slip(counter.small)
    assert "ONCE was applied." in counter.apply("ONCE").text


def test_guesses_of_codes_are_limited(counter: Counter) -> None:
    counter.two_accounts()
    counter.ada.get(f"/business/{counter.street.acorn}{counter.of}/plan-change")
    counter.ada.submit("quotes", product_id=counter.small)
    for n in range(10):
        counter.apply(f"guess{n}", 422)
        if n == 5:
            counter.apply("ONCE")  # a valid code does not count
    said, typed = refusal(counter.apply("SMALL", 429))
    assert said.startswith("Too many wrong codes.") and typed == "SMALL" and counter.ada.page.form("confirmation")
    counter.press("Remove KEEP", "KEEP")
    assert "KEEP was applied." in counter.press("Keep code KEEP", "KEEP").text, "one's own is no guess"
    at, settings = "203.0.113.9", counter.services.settings
    item, two = ({limit.key for limit in rate_limits.discounts(settings, who, at)} for who in ("one", "two"))
    assert len(item & two) == 1, "what is wrong from one source is counted together, whoever it is"
    counter.two_accounts()
    assert "SMALL was applied." in counter.apply("SMALL").text


def test_at_most_twenty_codes_are_accepted(counter: Counter) -> None:
    counter.slip(counter.small)
    quote_id = counter.ada.path.rsplit("/", 1)[-1]
    forged = counter.ada.post(f"{counter.ada.path}/discounts", {"discount_code": [f"MANY{n}" for n in range(21)]})
    assert forged.text.count("MANY0") == forged.text.count("MANY") == 3, "the first one alone: said, listed, and its button"
    buyer = customer_of(counter.street.acorn, counter.street.ada_at_acorn.customer_id)
    full = plan_change_discount_codes.with_codes(counter.services.database, buyer, quote_id, [f"MANY{n}" for n in range(AT_MOST)])
    counter.ada.get(f"{counter.of}/plan-change/quotes/{full}")
    assert refusal(counter.apply("ONCE", 422)) == ("You can use at most 20 codes.", "ONCE")
    assert len(counter.row(Quote, id=full).discounts) == AT_MOST

    ben, place = Visitor(counter.street.app), counter.ada.path.removesuffix("/discounts")
    ben.sign_in(counter.street.BEN)
    token = ben.get("/profile") and ben.token()
    for act in ("/discounts", "/discounts/removal"):
        ben.post(place + act, {"discount_code": "ONCE", "csrf_token": token}, expect=404)
