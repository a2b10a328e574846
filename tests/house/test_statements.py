"""Pages cost a fixed number of SQL statements, independent of the number of businesses and subscriptions (design §11)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import event

from billing.catalogue.products import create_product
from billing.customers.businesses import create_business
from billing.customers.customers import create_customer
from billing.subscriptions.subscribe import subscribe
from core.scope import everything, system
from tests.cast import MONTHLY, Buyer, Cast

BUDGET = {"/": 6}
PAGES = ["/", "/subscriptions", "/purchases", "/billing-history", "/payment-methods", "/license-keys", "/profile"]


@contextmanager
def counted(services: Any) -> Iterator[list[str]]:
    """Count statements that reach the database, without transaction control and the scope's set_config."""
    seen: list[str] = []

    def note(_conn: Any, _cursor: Any, sql: str, *_rest: Any) -> None:
        if not sql.startswith(("BEGIN", "COMMIT", "ROLLBACK", "SELECT set_config", "PRAGMA")):
            seen.append(sql)

    event.listen(services.database.engine, "after_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(services.database.engine, "after_cursor_execute", note)


def _grow(cast: Cast, businesses: int, subscriptions: int) -> None:
    """Add many businesses, all recognized by Ada."""
    services = cast.services
    for n in range(businesses):
        with services.database.open(everything("a business for a test"), write=True) as db:
            business_id = create_business(db, name=f"Site {n}", currency="EUR").business_id
        with services.database.open(system(business_id), write=True) as db:
            product = create_product(db, business_id, name=f"Plan {n}", price=MONTHLY).id
            customer_id = create_customer(db, business_id, email=cast.ADA, name="Ada Marlow").customer_id
        buyer = Buyer(business_id, customer_id, cast.ADA)
        method = cast.card(buyer)
        for _ in range(subscriptions):
            subscribe(services.processor, system(business_id), customer_id=customer_id, product_id=product, payment_method_id=method)


def test_the_dashboard_costs_the_same_statements_for_two_and_sixty_subscriptions(cast: Cast, visitor: Any) -> None:
    ada = visitor()
    ada.sign_in(cast.ADA)
    few: dict[str, int] = {}
    for path in PAGES:
        ada.get(path)  # the first visit may note when the session was seen
        with counted(cast.services) as seen:
            ada.get(path)
        few[path] = len(seen)
        assert few[path] <= BUDGET.get(path, 8), "\n\n".join(seen)
    _grow(cast, 18, 3)
    for path in PAGES:
        with counted(cast.services) as seen:
            ada.get(path)
        assert len(seen) == few[path], "\n\n".join(seen)
    assert "Plan 17" in ada.get("/subscriptions").text


@pytest.mark.parametrize("path", PAGES)
def test_no_page_counts_rows(cast: Cast, visitor: Any, path: str) -> None:
    ada = visitor()
    ada.sign_in(cast.ADA)
    with counted(cast.services) as seen:
        ada.get(path)
    assert not [sql for sql in seen if "count(" in sql.lower()]
