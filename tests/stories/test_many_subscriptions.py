"""A person with a thousand subscriptions: pages are limited, cost a fixed number of statements, and list every one."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import event, insert, inspect, select

from billing.model.subscriptions import Subscription
from core import clock
from core.scope import everything
from portal import overview, subscriptions
from tests.cast import Cast
from tests.visitor import Visitor

MANY = 955


def mirrored(cast: Cast, count: int) -> None:
    """Insert copies of Ada's subscription at Acorn that another system bills, half of them daily ones."""
    with cast.services.database.open(everything("many subscriptions of one person"), write=True) as db:
        row = db.scalars(select(Subscription).where(Subscription.id == cast.ada_at_acorn.subscription_id)).one()
        columns = {attribute.key: getattr(row, attribute.key) for attribute in inspect(Subscription).column_attrs}
        at = clock.now()
        db.execute(
            insert(Subscription),
            [
                {
                    **columns,
                    "id": f"sub_many{n:06d}",
                    "collected_by": "dodo",
                    "interval": "Day" if n % 2 else "Month",
                    "status": "paused" if n % 10 == 9 else "active",
                    "next_billing_at": at + timedelta(hours=n),
                }
                for n in range(count)
            ],
        )


def opened(ada: Visitor, path: str) -> tuple[Any, int]:
    """Return the page, and the number of its statements."""
    counted: list[str] = []

    def note(_c: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        counted.append(statement)

    engine = ada.services.database.engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        return ada.get(path), len(counted)
    finally:
        event.remove(engine, "before_cursor_execute", note)


def rows_of(page: Any) -> list[str]:
    """Return the ids of the subscriptions that a page lists, in order."""
    section = page.soup.find("section", {"aria-labelledby": "subs"}) or page.soup.find("section", {"aria-labelledby": "running"})
    return list(dict.fromkeys(re.findall(r"/subscriptions/(sub_\w+)", str(section))))


@pytest.fixture
def ada(cast: Cast, visitor: Any) -> Visitor:
    item: Visitor = visitor()
    item.sign_in(cast.ADA)
    return item


@pytest.mark.parametrize(
    ("door", "is_cut"),
    [("/", "Showing the first {} subscriptions."), ("/business/{acorn}/", "The first {} subscriptions are shown here.")],
    ids=["/", "/business/{acorn}/"],
)
def test_the_overview_lists_a_limited_number_with_a_fixed_number_of_statements(cast: Cast, ada: Visitor, door: str, is_cut: str) -> None:
    door = door.format(acorn=cast.acorn)
    ada.get(door)
    _page, few = opened(ada, door)
    mirrored(cast, MANY)
    page, many = opened(ada, door)
    assert many == few and len(rows_of(page)) == overview.LISTED
    assert is_cut.format(overview.LISTED) in page.text
    assert page.soup.find("a", string="View all subscriptions") is not None


def test_every_subscription_is_on_one_page_of_the_list_and_each_once(cast: Cast, ada: Visitor) -> None:
    mirrored(cast, 230)
    with cast.services.database.open(everything("one is on hold"), write=True) as db:
        db.scalars(select(Subscription).where(Subscription.id == "sub_many000120")).one().status = "on_hold"
    page, seen, statements = ada.get("/subscriptions"), [], set()
    assert rows_of(page)[0] == "sub_many000120", "what is owed comes first"
    while True:
        seen.append(rows_of(page))
        older = page.soup.find("a", href=re.compile("after="))
        if older is None:
            break
        page, count = opened(ada, older["href"])
        statements.add(count)
    assert [len(item) for item in seen] == [subscriptions.LISTED, subscriptions.LISTED, 232 - 2 * subscriptions.LISTED]
    ids = [item for part in seen for item in part]
    assert len(ids) == len(set(ids)) == 232 and len(statements) == 1
    assert {row_id for row_id in ids[-23:] if row_id.startswith("sub_many")} == {f"sub_many{n:06d}" for n in range(9, 230, 10)}
