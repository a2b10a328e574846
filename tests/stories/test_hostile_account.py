"""A mirrored account is untrusted: it changes only its own rows, moves no money here, and breaks no page."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from operator import gt
from typing import Any

import pytest
from sqlalchemy import func, inspect, or_, select

from billing.charging import recognition
from billing.external.port import DelegatedCall, ExternalAnswer
from billing.model.catalogue import Collection, Product
from billing.model.invoices import Invoice
from billing.model.parties import Customer
from billing.model.payments import Payment, Refund
from billing.model.provenance import FromAccount
from billing.model.subscriptions import Subscription
from billing.renewals import dunning, renew, retry
from core import clock
from core.errors import Conflict, Unavailable
from core.models import Base, BusinessOwned, Catalogue, CustomerOwned
from core.outgoing import Outgoing
from core.scope import everything, system
from tenants.external import incoming_webhooks, pull
from tenants.external.account import ExternalAccount, PullCursor, connect, origin_of, reach
from tenants.external.delegation import AccountActions
from tenants.external.page_calls import in_a_lane
from tenants.external.reader import AccountReader
from tenants.external.system import CallFailed
from tenants.external.systems import SYSTEMS
from tenants.imports.shapes import record
from tests.cast import Cast
from tests.harness.hostile_account import HostileAccount, hostile_account
from tests.harness.hostile_stripe import HostileStripe
from tests.visitor import Visitor

PAGES = (
    "/",
    "/subscriptions",
    "/purchases",
    "/billing-history",
    "/payment-methods",
    "/license-keys",
    "/activity",
    "/profile",
    "/search?q=lies",
    "/sessions",
)
OWN = {"source_ids", "external_accounts", "external_webhooks", "pull_cursors", "events", "outbox", "customer_search_words", "number_series"}
"""What a load may write besides rows of its account: its bookkeeping, and history."""


def real_ids(cast: Cast) -> list[str]:
    """Return the ids of all rows of the portal."""
    found: set[str] = set()
    with cast.services.database.open(everything("ids for somebody who lies")) as db:
        for mapper in Base.registry.mappers:
            if issubclass(mapper.class_, FromAccount):
                keys = [column for column in inspect(mapper.class_).primary_key if column.name != "business_id"]
                found |= {row for row in db.scalars(select(keys[0])) if isinstance(row, str)}
    return sorted(found)


def rows_of_others(cast: Cast, account_id: str) -> dict[str, Any]:
    """Return every owned row that the account did not create."""
    out: dict[str, Any] = {}
    with cast.services.database.open(everything("what must not change")) as db:
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
                item = dict(zip(names, row, strict=True))
                is_its_own = (item["business_id"], item.get("customer_id")) in theirs or item.get("collection_id") in collections
                if not is_its_own:
                    out[f"{name}/{item['business_id']}/{item.get('id', item.get('customer_id'))}"] = item
    return out


def own_ids(db: Any, account_id: str) -> set[str]:
    return set(db.scalars(select(Collection.id).where(Collection.account_id == account_id)))


@pytest.fixture
def connected(cast: Cast) -> Iterator[Callable[[HostileAccount], AccountReader]]:
    """A reader of the hostile account for Acorn, where Ada is a customer; the portal may connect to loopback."""
    services = cast.services
    services.outgoing, before = Outgoing(replace(services.settings, outgoing_loopback=True)), services.outgoing

    def connect_to(liar: HostileAccount) -> AccountReader:
        name = "stripe" if isinstance(liar, HostileStripe) else "dodo"
        with services.database.open(system(cast.acorn), write=True) as db:
            connect(db, services.settings, cast.acorn, name, base_url=liar.url, api_key="a key")
        known, origin = reach(services.database, services.settings, cast.acorn, name), origin_of(services.database, cast.acorn, name)
        assert known is not None and origin is not None
        api = SYSTEMS[name].open(services.outgoing, known)
        return AccountReader(services.database, services.settings, api, cast.acorn, origin, SYSTEMS[name])

    yield connect_to
    services.outgoing = before


@pytest.mark.parametrize(
    ("engine", "system_of"), [("sqlite", HostileAccount), ("postgresql", HostileAccount), ("sqlite", HostileStripe)], indirect=["engine"]
)
def test_a_hostile_account_changes_its_own_rows_only_and_pages_render(
    cast: Cast, app: Any, connected: Callable[[HostileAccount], AccountReader], system_of: type[HostileAccount]
) -> None:
    services = cast.services
    with hostile_account(system_of(7, real_ids(cast), [cast.ADA, cast.ADA, cast.ADA, cast.BEN, "liar@void.example"])) as liar:
        reader = connected(liar)
        before = rows_of_others(cast, reader.origin.account_id)
        liar.is_plausible = True
        counts = pull.pull(reader)
        liar.is_plausible = False
        for kind in ("subscription", "payment", "refund", "license_key"):
            for id in liar.ids[:: 12 if system_of is HostileAccount else 36]:
                reader.budget = incoming_webhooks.ReadLimit(incoming_webhooks.REQUESTS, incoming_webhooks.SECONDS)
                with suppress(CallFailed):  # an unreadable answer is asked for again
                    incoming_webhooks.learn(reader, kind, id)
        if system_of is HostileStripe:
            act_on_everything(cast, reader)
            liar.is_plausible = True
            shown, answers = act_on_everything(cast, reader)
            liar.is_plausible = False
            assert shown and answers >= {"done", "refused"}
        again = pull.pull(reader)
        least = liar.size * 4, liar.size // 2, liar.size // 2
        assert all(map(gt, (counts.new, again.changed, reader.skipped), least)), "both kinds of answers came"
        assert rows_of_others(cast, reader.origin.account_id) == before
        assert not [path for path in liar.paths if ".." in path or "%" in path]
    with services.database.open(everything("what it made")) as db:
        counted = {model: select(func.count()).select_from(model) for model in (Customer, Product, Subscription, Payment, Invoice)}
        loaded = {model: db.scalar(query.where(model.account_id == reader.origin.account_id)) for model, query in counted.items()}
        assert all(loaded.values()), loaded
        assert not db.scalar(
            select(func.count())
            .select_from(Subscription)
            .where(Subscription.account_id == reader.origin.account_id, Subscription.collected_by == "us")
        )
    services.worker.drain()
    with services.database.open(everything("Ada accepts whatever appears"), write=True) as db:
        for row in db.scalars(select(Customer).where(Customer.email_key == cast.ADA)):
            recognition.record_acceptance(row)
    ada = Visitor(app)
    ada.sign_in(cast.ADA)
    for page in PAGES:
        ada.get(page)
    with services.database.open(everything("hers")) as db:
        hers = select(Customer.customer_id).where(Customer.email_key == cast.ADA)
        subscriptions = list(db.scalars(select(Subscription.id).where(Subscription.customer_id.in_(hers))))
        invoices = list(db.scalars(select(Invoice.id).where(Invoice.customer_id.in_(hers))))
        ours = [db.scalar(select(Invoice.number).where(Invoice.business_id == cast.birch, Invoice.subscription_id.is_not(None)))]
    assert len(subscriptions) > 2 and len(invoices) > 2 and all(ours)
    for page in [f"/subscriptions/{subscription}" for subscription in subscriptions] + [f"/invoices/{invoice}" for invoice in invoices]:
        ada.get(page)
    charged = taken(cast, reader.origin.account_id)
    clock.turn(timedelta(days=40))
    for run in (renew.run_due, dunning.run_due, retry.run_due):
        run(services.processor)
    services.processor.reconcile()
    assert taken(cast, reader.origin.account_id) == charged, "nothing of it is charged here"
    for page in PAGES:
        ada.get(page)


def act_on_everything(cast: Cast, reader: AccountReader) -> tuple[int, set[str]]:
    """Ask for the price of plan changes, change plans and pay invoices. Only web pages are opened. Returns (shown prices, answers)."""
    actions, answers = AccountActions(cast.services, SYSTEMS["stripe"]), list[ExternalAnswer]()
    with cast.services.database.open(system(cast.acorn)) as db:
        mine = select(Subscription.id).where(Subscription.account_id == reader.origin.account_id)
        subscriptions = list(db.scalars(mine.limit(25)))
        products = list(db.scalars(select(Product.id).where(Product.account_id == reader.origin.account_id).limit(4)))
        invoices = list(db.scalars(select(Invoice.id).where(Invoice.account_id == reader.origin.account_id, Invoice.status == "open")))
    shown = 0
    with in_a_lane():
        for n, subscription in enumerate(subscriptions):
            plan = {"product_id": products[n % len(products)], "quantity": 1, "addons": [], "effective_at": "immediately", "due_minor": 0,
                    "mode": "prorated_immediately_keep_cycle", "as_of": clock.wall().isoformat()}  # fmt: skip
            for _ in range(5):  # every answer is another one
                with suppress(Conflict, Unavailable):
                    shown += actions.preview(cast.acorn, subscription, plan) is not None
            wanted = plan | {"due_minor": 99_999}
            answers.append(actions.send(DelegatedCall(cast.acorn, subscription, "change_plan", wanted, f"k{n}", "cus_1")))
            details = {name: None for name in ("street", "city", "state", "zipcode", "country", "name", "business_name", "tax_id")}
            edit = {"billing": {**dict.fromkeys(("street", "city", "state", "zipcode"), ""), "country": "DE"}, "name": "Ada",
                    "business_name": None, "tax_id": "DE136695976", "before": details}  # fmt: skip
            answers.append(actions.send(DelegatedCall(cast.acorn, subscription, "edit_billing", edit, f"e{n}", "cus_1")))
            invoice = {"invoice_id": invoices[n % len(invoices)]} if invoices else {}  # without one: of the latest invoice
            answers.append(actions.send(DelegatedCall(cast.acorn, subscription, "pay_invoice", invoice, f"i{n}", "cus_1")))
    assert all(answer.link is None or answer.link.startswith("https://pay.example/") for answer in answers)
    return shown, {answer.state for answer in answers}


def taken(cast: Cast, account_id: str) -> list[tuple[Any, ...]]:
    """Return payments and refunds of rows that the account created."""
    with cast.services.database.open(everything("money of what was loaded")) as db:
        loaded = select(Subscription.id).where(Subscription.account_id == account_id)
        paid = select(Payment.id, Payment.status, Payment.amount_minor, Payment.refunded_minor).where(
            or_(Payment.account_id == account_id, Payment.subscription_id.in_(loaded))
        )
        back = select(Refund.id, Refund.status, Refund.amount_minor).where(Refund.account_id == account_id)
        return sorted(map(tuple, [*db.execute(paid), *db.execute(back)]))


def test_another_url_is_another_account(cast: Cast) -> None:
    """The second account cannot change rows of the first, although both are called dodo."""
    ids = []
    for url in ("https://one.example", "https://one.example", "https://two.example"):
        with cast.services.database.open(system(cast.acorn), write=True) as db:
            connect(db, cast.services.settings, cast.acorn, "dodo", base_url=url, api_key="k")
        with cast.services.database.open(system(cast.acorn)) as db:
            ids.append(db.scalar(select(ExternalAccount.account_id)))
    assert ids[0] == ids[1] != ids[2] and ids[2].startswith("acc_")


def test_missing_payment_methods_do_not_stop_a_pull(cast: Cast, connected: Callable[[HostileAccount], AccountReader]) -> None:
    """The pull completes, so that the next one starts again."""
    with hostile_account(HostileAccount(7, [], [])) as liar:
        liar.answer = lambda path, query: {"items": []} if "/customers/" not in path else None  # type: ignore[method-assign]
        reader = connected(liar)
        told = [
            record("customer", {"customer_id": "cus_1", "email": cast.ADA, "name": "Ada"}),
            record("product", {"product_id": "pdt_1", "name": "P", "price": {"type": "recurring_price", "currency": "EUR"}}),
            record(
                "subscription",
                {
                    "subscription_id": "sub_1",
                    "customer": {"customer_id": "cus_1"},
                    "product_id": "pdt_1",
                    "status": "active",
                    "payment_method_id": "pm_1",
                },
            ),
        ]
        reader.keep(told)
        pull.pull(reader)
        assert reader.skipped == 1 and liar.paths["/customers/cus_1/payment-methods"] == 1
    with cast.services.database.open(system(cast.acorn)) as db:
        assert not db.scalar(select(func.count()).select_from(PullCursor)), "finished"
