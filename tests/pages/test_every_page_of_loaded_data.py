"""Every page at every door over imported data: no error, no missing value in the text, no dead link."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import undefer

from billing.charging import recognition
from billing.customers.businesses import create_business
from billing.model.catalogue import Addon, Collection, CollectionGroup, CollectionItem, Product
from billing.model.corrections import Correction
from billing.model.invoices import Invoice
from billing.model.licenses import LicenseInstance, LicenseKey
from billing.model.parties import Customer
from billing.model.payments import Payment, PaymentMethod, Refund
from billing.model.subscriptions import Subscription
from billing.subscriptions.billing_details import correct_invoice
from core.errors import Invalid, PortalError
from core.outbox import Event
from core.outgoing import Outgoing
from core.scope import everything, system
from tenants import exports, impersonation
from tenants.api_keys import new_key
from tenants.external import pull
from tenants.external.account import connect, origin_of, reach
from tenants.external.dodo.client import client
from tenants.external.reader import AccountReader
from tenants.external.systems import SYSTEMS
from tenants.imports.import_file import check, write
from tenants.memberships import invite
from tenants.team import Membership
from tests.conftest import on_sqlite
from tests.harness.hostile_account import HostileAccount, hostile_account
from tests.harness.page_walker import Ids, Walk
from tests.harness.unusual_records import ARABIC, lines
from tests.visitor import Visitor

DOCS = Path(__file__).parents[2] / "docs" / "importing.md"
ADA, SAM = "ada@marlow.example", "sam@acorn.example"
ROWS: dict[str, Any] = {
    "subscription_id": Subscription, "invoice_id": Invoice, "payment_id": Payment, "refund_id": Refund, "correction_id": Correction,
    "payment_method_id": PaymentMethod, "key_id": LicenseKey, "instance_id": LicenseInstance, "product_id": Product, "addon_id": Addon,
    "collection_id": Collection, "group_id": CollectionGroup, "item_id": CollectionItem, "event_id": Event,
}  # fmt: skip
SAMPLE = 8  # rows of one kind that are walked
FEW = 3  # the same at doors that draw the same pages once more


def examples() -> list[str]:
    """Return every block of JSON Lines in the documentation of imports."""
    return re.findall(r"```json\n(.*?)```", DOCS.read_text(), re.S)


@pytest.fixture
def business(services: Any) -> str:
    with services.database.open(everything("a business without an address, and without tax rates"), write=True) as db:
        return create_business(db, name="Acorn Notes", currency="EUR", zone="Europe/London").business_id


def load(services: Any, business_id: str, path: Path, text: str) -> None:
    path.write_text(text)
    try:
        found = check(services.database, business_id, path)
    except Invalid as wrong:
        raise AssertionError(wrong.fields) from wrong
    write(services.database, services.settings, business_id, "import", path, found)


def customers_of(services: Any, business_id: str, email: str) -> list[str]:
    """Ids of the customers with an address; an account may have several. The one with the most rows is first, so its walk is longest."""
    with services.database.open(system(business_id)) as db:
        found = list(db.scalars(select(Customer.customer_id).where(Customer.email_key == email)))
        owners = Counter[str]()
        for model in ROWS.values():
            if hasattr(model, "customer_id"):
                owners.update(db.scalars(select(model.customer_id).where(model.customer_id.in_(found))))
    return sorted(found, key=lambda customer_id: (-owners[customer_id], customer_id))


def ids_of(services: Any, business_id: str, customer_ids: list[str] | None = None) -> Ids:
    """Ids of what the business has, or of what the given customers have. A sample from the beginning to the end of each kind."""
    with services.database.open(system(business_id)) as db:
        out = {}
        for name, model in ROWS.items():
            query = select(model.id).where(model.business_id == business_id).order_by(model.id)
            if customer_ids and hasattr(model, "customer_id"):
                query = query.where(model.customer_id.in_(customer_ids))
            rows = list(db.scalars(query))
            out[name] = rows[:: max(1, len(rows) // SAMPLE)]
        customers = list(db.scalars(select(Customer.customer_id).where(Customer.business_id == business_id)))
    return out | {"method_id": out["payment_method_id"], "business_id": [business_id], "customer_id": customers[:SAMPLE]}


def forget_parts(services: Any, business_id: str) -> None:
    """Remove the address parts from buyers in documents, as older versions stored them: printed lines only, or none."""
    with services.database.open(system(business_id), write=True) as db:
        for invoice in db.scalars(select(Invoice).options(undefer(Invoice.snapshot)).order_by(Invoice.id)):
            buyer = {name: value for name, value in invoice.snapshot["buyer"].items() if name != "address"}
            invoice.snapshot = {**invoice.snapshot, "buyer": buyer}


def correct_some(services: Any, business_id: str) -> None:
    """Issue a corrected document for every second invoice that allows it."""
    with services.database.open(system(business_id), write=True) as db:
        for number, invoice in enumerate(list(db.scalars(select(Invoice).where(Invoice.status != "void").order_by(Invoice.id).limit(8)))):
            typed = {
                "name": ARABIC,
                "street": "14 Tanner Street",
                "city": "London",
                "zipcode": "SE1 3LD",
                "country": "GB",
                "state": "",
                "business_name": "",
                "tax_id": "",
            }
            if number % 2:
                try:
                    correct_invoice(db, invoice.id, typed)
                except PortalError:
                    continue  # its country is fixed


def walk_everywhere(app: Any, business_id: str, email: str) -> list[Walk]:
    """Walk the pages of the customer at both doors, of the owner in the console and as the customer, and of the API."""
    services = app.extensions["portal"]
    correct_some(services, business_id)
    with services.database.open(everything("the customer accepts what was loaded"), write=True) as db:
        for row in db.scalars(select(Customer).where(Customer.email_key == email)):
            recognition.record_acceptance(row)
    with services.database.open(system(business_id), write=True) as db:
        invite(db, business_id, SAM, "owner")
        _row, secret = new_key(db, business_id, "walker", True, settings=services.settings)
    customer_ids = customers_of(services, business_id, email)
    customer, owner = Visitor(app), Visitor(app)
    customer.sign_in(email)
    owner.sign_in(SAM)
    owner.get("/console")
    owner.submit("acceptance", follow=False, expect=303)
    walks = []
    theirs = ids_of(services, business_id, customer_ids)
    for door in ("/", f"/business/{business_id}/"):
        inside = Walk(app, customer.client, customer.headers, stays_in=(door,), most_alike=25 if door == "/" else FEW)
        addresses = [address for address in inside.addresses(theirs) if is_at(door, address, business_id)]
        walks.append(inside.walk([door, f"{door}search?q=a", f"{door}activity", *addresses]))
    owner.get(f"/console/{business_id}/sales/customers/{customer_ids[0]}/view")
    owner.submit("/view", reason="The customer asked what this page means")
    assert owner.page is not None
    with services.database.open(system(business_id)) as db:
        view_id = db.scalar(select(impersonation.ImpersonationSession.id))
    owner.get(f"/console/{business_id}/sales/customers")
    owner.submit("exports")
    services.worker.drain()
    with services.database.open(system(business_id)) as db:
        export_id = db.scalar(select(exports.CustomerExport.id))
        member_id = db.scalar(select(Membership.id))
    everybody = ids_of(services, business_id) | {"view_id": [view_id], "export_id": [export_id], "membership_id": [member_id]}
    console = Walk(app, owner.client, owner.headers, stays_in=(f"/console/{business_id}",), most_alike=SAMPLE)
    paths = [address for address in console.addresses(everybody, "/console") if "/view/" not in address]
    looking = Walk(app, owner.client, owner.headers, stays_in=(f"/console/{business_id}/view/",), most_alike=FEW)
    seen_as = looking.addresses(ids_of(services, business_id, customer_ids[:1]) | {"view_id": [view_id]}, "/console/<business_id>/view/")
    walks += [console.walk(paths), looking.walk(seen_as)]
    program = Walk(app, app.test_client(), {"Authorization": f"Bearer {secret}"}, stays_in=())
    walks.append(program.walk(program.addresses(everybody, "/api/")))
    return walks


def is_at(door: str, path: str, business_id: str) -> bool:
    outside = ("/api/", "/console", "/business/", "/login", "/oauth", "/domains", "/.well-known")
    return path.startswith(door) if door != "/" else not path.startswith(outside)


def assert_no_faults(walks: list[Walk]) -> None:
    faults = [fault for item in walks for fault in item.faults]
    assert not faults, f"{len(faults)} faults:\n" + "\n".join(faults[:40])
    assert all(item.seen[200] >= 10 for item in walks), [item.seen for item in walks]


def test_every_page_renders_the_examples_of_the_documentation(app: Any, services: Any, business: str, tmp_path: Path) -> None:
    blocks = examples()
    assert blocks and all(json.loads(line) for block in blocks for line in block.splitlines())
    for number, block in enumerate(blocks):
        load(services, business, tmp_path / f"{number}.jsonl", block)
    forget_parts(services, business)
    assert_no_faults(walk_everywhere(app, business, ADA))


@on_sqlite
def test_every_page_renders_unusual_but_permitted_data(app: Any, services: Any, business: str, tmp_path: Path) -> None:
    """No address, no tax, no lines, amounts of zero, very long names, right-to-left text."""
    load(services, business, tmp_path / "odd.jsonl", "\n".join(json.dumps(line) for line in lines(ADA)))
    assert_no_faults(walk_everywhere(app, business, ADA))


@on_sqlite
def test_every_page_renders_for_a_business_without_customers(app: Any, services: Any, business: str) -> None:
    owner = Visitor(app)
    with services.database.open(system(business), write=True) as db:
        invite(db, business, SAM, "owner")
    owner.sign_in(SAM)
    owner.get("/console")
    owner.submit("acceptance", follow=False, expect=303)
    console = Walk(app, owner.client, owner.headers, stays_in=("/",))
    assert_no_faults([console.walk(["/", *console.addresses({"business_id": [business]})])])


@pytest.fixture
def pulled(services: Any, business: str) -> Iterator[str]:
    """A business whose account first answers with everything that the official SDK's types allow, and then with hostile values."""
    services.outgoing, before = Outgoing(replace(services.settings, outgoing_loopback=True)), services.outgoing
    with hostile_account(HostileAccount(11, ["foreign_1", "foreign_2"], [ADA, ADA, "liar@void.example"])) as liar:
        with services.database.open(system(business), write=True) as db:
            connect(db, services.settings, business, "dodo", base_url=liar.url, api_key="a key")
        known, origin = reach(services.database, services.settings, business, "dodo"), origin_of(services.database, business, "dodo")
        assert known is not None and origin is not None
        reader = AccountReader(services.database, services.settings, client(services.outgoing, known), business, origin, SYSTEMS["dodo"])
        liar.is_plausible = True
        pull.pull(reader)
        liar.is_plausible = False
        pull.pull(reader)
        yield business
    services.outgoing = before


@on_sqlite
def test_every_page_renders_a_pulled_account(app: Any, pulled: str) -> None:
    assert_no_faults(walk_everywhere(app, pulled, ADA))
