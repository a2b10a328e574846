"""A mirrored account is a stranger: whatever it answers, it changes rows of its own alone, moves no money here, and takes no page away."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, inspect, or_, select

from billing import dunning, knowing, renewals, retries
from billing.catalogue import Collection, Product
from billing.invoices import Invoice
from billing.parties import Customer
from billing.payments import Payment, Refund
from billing.provenance import FromAccount
from billing.subscriptions import Subscription
from core import clock
from core.models import Base, BusinessOwned, Catalogue, CustomerOwned
from core.outgoing import Outgoing
from core.scope import everything, system
from tenants.elsewhere import hooks, pull
from tenants.elsewhere.account import ElsewhereAccount, PullCursor, connect, origin_of, reach
from tenants.elsewhere.client import client
from tenants.elsewhere.reader import Reader
from tenants.loading.shapes import record
from tests.cast import Cast
from tests.harness.liar import Liar, lying
from tests.visitor import Visitor

PAGES = ("/", "/subscriptions", "/purchases", "/billing-history", "/payment-methods", "/license-keys", "/activity", "/profile",
         "/search?q=lies", "/sessions")
OWN = {"source_ids", "elsewhere_accounts", "elsewhere_hooks", "pull_cursors", "events", "outbox", "customer_words", "number_series"}
"""What a load may write besides rows of its account: its bookkeeping, and history."""


def real_ids(cast: Cast) -> list[str]:
    """Ids of everything that is at the portal, whosever it is."""
    found: set[str] = set()
    with cast.house.database.open(everything("ids for somebody who lies")) as db:
        for mapper in Base.registry.mappers:
            if issubclass(mapper.class_, FromAccount):
                keys = [column for column in inspect(mapper.class_).primary_key if column.name != "business_id"]
                found |= {one for one in db.scalars(select(keys[0])) if isinstance(one, str)}
    return sorted(found)


def rows_of_others(cast: Cast, account_id: str) -> dict[str, Any]:
    """Every owned row that the account did not make, as it is in the database."""
    out: dict[str, Any] = {}
    with cast.house.database.open(everything("what must not change")) as db:
        collections = own_ids(db, account_id)
        buyers = select(Customer.business_id, Customer.customer_id).where(Customer.account_id == account_id)
        theirs = {tuple(row) for row in db.execute(buyers)}
        for mapper in Base.registry.mappers:
            model, name = mapper.class_, mapper.local_table.name  # type: ignore[attr-defined]
            if not issubclass(model, CustomerOwned | Catalogue | BusinessOwned) or name in OWN:
                continue
            columns = [column for column in model.__table__.c if column.name not in ("snapshot", "pdf")]
            query = select(*(getattr(model, mapper.get_property_by_column(column).key) for column in columns))
            if issubclass(model, FromAccount):
                query = query.where(or_(model.account_id.is_(None), model.account_id != account_id))
            names = [column.name for column in columns]
            for row in db.execute(query):
                one = dict(zip(names, row, strict=True))
                is_its_own = (one["business_id"], one.get("customer_id")) in theirs or one.get("collection_id") in collections
                if not is_its_own:
                    out[f"{name}/{one['business_id']}/{one.get('id', one.get('customer_id'))}"] = one
    return out


def own_ids(db: Any, account_id: str) -> set[str]:
    return set(db.scalars(select(Collection.id).where(Collection.account_id == account_id)))


@pytest.fixture
def connected(cast: Cast) -> Iterator[Callable[[Liar], Reader]]:
    """A reader of the lying account for Acorn, where Ada buys already; the portal may ask this machine."""
    house = cast.house
    house.outgoing, before = Outgoing(replace(house.settings, outgoing_loopback=True)), house.outgoing

    def connect_to(liar: Liar) -> Reader:
        with house.database.open(system(cast.acorn), write=True) as db:
            connect(db, house.settings, cast.acorn, "dodo", base_url=liar.url, api_key="a key")
        known, origin = reach(house.database, house.settings, cast.acorn, "dodo"), origin_of(house.database, cast.acorn, "dodo")
        assert known is not None and origin is not None
        return Reader(house.database, house.settings, client(house.outgoing, known), cast.acorn, origin)

    yield connect_to
    house.outgoing = before


def test_an_account_that_lies_changes_its_own_rows_only_and_every_page_stands(
    cast: Cast, app: Any, connected: Callable[[Liar], Reader]
) -> None:
    house = cast.house
    with lying(Liar(7, real_ids(cast), [cast.ADA, cast.ADA, cast.ADA, cast.BEN, "liar@void.example"])) as liar:
        reader = connected(liar)
        before = rows_of_others(cast, reader.origin.account_id)
        liar.is_plausible = True
        counts = pull.pull(reader)
        liar.is_plausible = False
        for kind in ("subscription", "payment", "refund", "license_key"):
            for id in liar.ids[::12]:
                reader.budget = hooks.Budget(hooks.ASKS, hooks.SECONDS)
                hooks.learn(reader, kind, id)
        again = pull.pull(reader)
        assert counts.new > 100 and again.changed > 20 and reader.skipped > 20, "both kinds of answers came"
        assert rows_of_others(cast, reader.origin.account_id) == before
        assert not [path for path in liar.paths if ".." in path or "%" in path]
    with house.database.open(everything("what it made")) as db:
        counted = {model: select(func.count()).select_from(model) for model in (Customer, Product, Subscription, Payment, Invoice)}
        loaded = {model: db.scalar(query.where(model.account_id == reader.origin.account_id)) for model, query in counted.items()}
        assert all(loaded.values()), loaded
        assert not db.scalar(select(func.count()).select_from(Subscription).where(
            Subscription.account_id == reader.origin.account_id, Subscription.collected_by == "us"))
    house.worker.drain()
    with house.database.open(everything("Ada accepts whatever appears"), write=True) as db:
        for row in db.scalars(select(Customer).where(Customer.email_key == cast.ADA)):
            knowing.accepted(row)
    ada = Visitor(app)
    ada.sign_in(cast.ADA)
    for page in PAGES:
        ada.get(page)
    with house.database.open(everything("hers")) as db:
        hers = select(Customer.customer_id).where(Customer.email_key == cast.ADA)
        subscriptions = list(db.scalars(select(Subscription.id).where(Subscription.customer_id.in_(hers))))
        invoices = list(db.scalars(select(Invoice.id).where(Invoice.customer_id.in_(hers))))
        ours = [db.scalar(select(Invoice.number).where(Invoice.business_id == cast.birch, Invoice.subscription_id.is_not(None)))]
    assert len(subscriptions) > 2 and len(invoices) > 2 and all(ours)
    for page in [f"/subscriptions/{one}" for one in subscriptions] + [f"/invoices/{one}" for one in invoices]:
        ada.get(page)
    charged = taken(cast, reader.origin.account_id)
    clock.turn(timedelta(days=40))
    for run in (renewals.run_due, dunning.run_due, retries.run_due):
        run(house.till)
    house.till.reconcile()
    assert taken(cast, reader.origin.account_id) == charged, "nothing of it is charged here"
    for page in PAGES:
        ada.get(page)


def taken(cast: Cast, account_id: str) -> list[tuple[Any, ...]]:
    """Payments and refunds of what the account brought."""
    with cast.house.database.open(everything("money of what was loaded")) as db:
        loaded = select(Subscription.id).where(Subscription.account_id == account_id)
        paid = select(Payment.id, Payment.status, Payment.amount_minor, Payment.refunded_minor).where(
            or_(Payment.account_id == account_id, Payment.subscription_id.in_(loaded)))
        back = select(Refund.id, Refund.status, Refund.amount_minor).where(Refund.account_id == account_id)
        return sorted(map(tuple, [*db.execute(paid), *db.execute(back)]))


def test_another_address_is_another_account(cast: Cast) -> None:
    """What the first account brought is not the second one's to change, though both are called dodo."""
    ids = []
    for url in ("https://one.example", "https://one.example", "https://two.example"):
        with cast.house.database.open(system(cast.acorn), write=True) as db:
            connect(db, cast.house.settings, cast.acorn, "dodo", base_url=url, api_key="k")
        with cast.house.database.open(system(cast.acorn)) as db:
            ids.append(db.scalar(select(ElsewhereAccount.account_id)))
    assert ids[0] == ids[1] != ids[2] and ids[2].startswith("acc_")


def test_a_customer_whose_methods_the_account_has_no_more_stops_no_pull(cast: Cast, connected: Callable[[Liar], Reader]) -> None:
    """The pull comes to its end, so the next one reads anew."""
    with lying(Liar(7, [], [])) as liar:
        liar.answer = lambda path, query: {"items": []} if "/customers/" not in path else None  # type: ignore[method-assign]
        reader = connected(liar)
        told = [record("customer", {"customer_id": "cus_1", "email": cast.ADA, "name": "Ada"}),
                record("product", {"product_id": "pdt_1", "name": "P", "price": {"type": "recurring_price", "currency": "EUR"}}),
                record("subscription", {"subscription_id": "sub_1", "customer": {"customer_id": "cus_1"}, "product_id": "pdt_1",
                                        "status": "active", "payment_method_id": "pm_1"})]
        reader.keep(told)
        pull.pull(reader)
        assert reader.skipped == 1 and liar.paths["/customers/cus_1/payment-methods"] == 1
    with cast.house.database.open(system(cast.acorn)) as db:
        assert not db.scalar(select(func.count()).select_from(PullCursor)), "finished"
