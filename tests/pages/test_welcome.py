"""A customer without purchases sees one page that helps to find them, at both doors, instead of empty sections."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from billing.customers.customers import create_customer
from core.scope import system
from tests.cast import Cast
from tests.visitor import Visitor

pytestmark = pytest.mark.one_engine  # what people see and type; other tests run these statements on both

NIA = "nia@newman.example"


def newcomer(cast: Cast, visitor: Callable[..., Visitor]) -> Visitor:
    with cast.services.database.open(system(cast.acorn), write=True) as db:
        create_customer(db, cast.acorn, email=NIA, name="Nia Newman")
    nia = visitor()
    nia.sign_in(NIA)
    return nia


def test_a_customer_without_purchases_is_welcomed_at_both_doors(cast: Cast, visitor: Callable[..., Visitor]) -> None:
    nia = newcomer(cast, visitor)
    page = nia.get("/")
    assert page.h1.startswith("Welcome") and "Waiting for your approval" in page.text
    nia.submit("/acceptance")
    page = nia.get("/")
    assert page.h1 == "Welcome, Nia" and page.soup
    assert [item.get_text() for item in page.soup.select("main h2")] == ["Did you expect to see something?", "What you’ll find here"]
    assert page.soup.find("a", string="Add email address")["href"] == "/profile/addresses"
    page = nia.get(f"/business/{cast.acorn}/")
    assert page.h1 == "Welcome, Nia" and "no purchases from Acorn Notes" in page.text and page.soup
    assert len(page.soup.select("main h2")) == 2 and page.soup.select_one("main a[href='mailto:help@acorn.example']")
    nia.get(page.soup.find("a", string="Add email address")["href"])
    nia.get(page.soup.find("a", string="Refresh page")["href"])


def test_with_a_purchase_the_overview_lists_it(cast: Cast, visitor: Callable[..., Visitor]) -> None:
    ben = visitor()
    ben.sign_in(cast.BEN)
    for path in ("/", f"/business/{cast.birch}/"):
        page = ben.get(path)
        assert "Did you expect" not in page.text and "Birch Team" in page.text
