"""A business is recognized by whoever paid or accepted under the row's present address.

Changes by the business prove nothing (safety 3.2).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, select

from auth import rate_limits
from auth.models import IdentityEmail
from auth.oidc_server import apps, clients, consents
from auth.oidc_server.subject import DisclosedCustomer
from auth.personal_export import PersonExport
from auth.portal_links import create_dynamic_link, mail_portal_link, url_of
from auth.rate_limits import DAY, Limit
from billing import imports
from billing.customers import queries as query
from billing.customers.businesses import create_business
from billing.customers.customers import create_customer, update_customer
from billing.customers.portal_settings import the_business
from billing.model.imported_records import SourceId, source_key
from billing.model.parties import Customer
from billing.model.provenance import Origin
from billing.subscriptions.subscribe import buy
from core import clock, guard, mailbox
from core.ids import new_id
from core.outbox import Event, emit
from core.revisions import MIGRATIONS
from core.scope import everything, system
from tenants.api_keys import new_key
from tenants.imports.shapes import record
from tests import unpaid_renewals
from tests.cast import Buyer
from tests.pages.console_setup import Site
from tests.unpaid_renewals import MONTH
from tests.visitor import Visitor


@pytest.fixture(scope="module")
def site(sqlite: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    urls, drop = sqlite.fresh()
    item = Site.open(urls, tmp_path_factory.mktemp("known"))
    yield item
    item.services.database.dispose()
    drop()


def by_program(site: Site, buyer: Buyer, email: str) -> None:
    with site.services.database.open(system(site.acorn), write=True) as db:
        secret = new_key(db, site.acorn, "till", settings=site.services.settings)[1]
    answer = site.app.test_client().patch(
        f"/api/customers/{buyer.customer_id}", json={"email": email}, headers={"Authorization": f"Bearer {secret}"}
    )
    assert answer.status_code == 200


def by_staff(site: Site, buyer: Buyer, email: str) -> None:
    site.sam.get(site.at(f"/sales/customers/{buyer.customer_id}/details"))
    site.sam.submit("/details", email=email)


def by_another_system(site: Site, buyer: Buyer, email: str) -> None:
    told = record("customer", {"customer_id": buyer.customer_id, "email": email, "name": "Pat"})
    with site.services.database.open(system(site.acorn), write=True) as db:
        origin = Origin("acc_elsewhere", "elsewhere", True)
        item = source_key(origin.account_id, "customer", buyer.customer_id)
        if db.scalar(select(SourceId).where(SourceId.id == item)) is None:  # as if the account had brought the row
            db.add(
                SourceId(
                    business_id=site.acorn,
                    id=item,
                    account_id=origin.account_id,
                    kind="customer",
                    reference=buyer.customer_id,
                    row_id=buyer.customer_id,
                    digest="before",
                    loaded_at=clock.wall(),
                )
            )
            row = db.scalar(select(Customer).where(Customer.customer_id == buyer.customer_id))
            assert row is not None
            row.account_id = origin.account_id
            db.flush()
        assert imports.load(db, origin, [told], renew=True).changed


def row_of(site: Site, buyer: Buyer) -> Customer:
    return site.row(Customer, Customer.customer_id == buyer.customer_id)  # type: ignore[no-any-return]


@pytest.mark.parametrize("change", [by_program, by_staff, by_another_system])
def test_a_payment_recognizes_only_its_address(site: Site, change: Callable[..., None]) -> None:
    old, new = f"{change.__name__}@void.example", f"{change.__name__}@hill.example"
    buyer = site.buyer("acorn", old, "Pat")
    before = row_of(site, buyer)
    assert before.is_recognized and before.first_paid_at
    change(site, buyer, new)
    after = row_of(site, buyer)
    assert (after.email_key, after.is_recognized, after.first_paid_at) == (new, False, before.first_paid_at), "money stays about money"
    assert [row.customer_id for row in site.rows(Customer, Customer.is_recognized, Customer.email_key == new)] == []
    change(site, buyer, old)
    assert row_of(site, buyer).is_recognized, "what was proved under this address holds"


def test_a_new_address_holder_is_asked_to_accept_even_with_a_saved_card(site: Site) -> None:
    buyer, new = site.buyer("acorn", "pat@void.example", "Call www.evil.example"), "gus@grove.example"
    by_program(site, buyer, new)
    gus = site.customer(new)
    home = gus.get("/")
    assert "Waiting for your approval" in home.text and "Acorn Team" not in home.text and "evil" not in home.text
    clock.turn(MONTH)
    unpaid_renewals.settle(site)
    assert unpaid_renewals.taken(site, buyer) and not row_of(site, buyer).is_recognized, (
        "a renewal took from the card of whoever had the row before"
    )
    for recent_email in mailbox.recent_emails(site.services.database, new):
        said = f"{recent_email.subject} {recent_email.text} {recent_email.html}"
        assert not [word for word in ("Acorn Team", "for desktop", "evil", "ACO-") if word in said] and not recent_email.attachments, said
    page = buy(site.services.processor, system(site.acorn), customer_id=buyer.customer_id, cart=[(site.products["acorn.once"], 1)])
    unpaid_renewals.fill_in(site, page.link or "")
    unpaid_renewals.settle(site)
    assert row_of(site, buyer).is_recognized and "Is it yours?" in gus.get("/").text


def test_a_purchase_by_an_unknown_address_asks_for_acceptance(site: Site) -> None:
    ada = site.customer(site.ADA)
    assert ada.get("/").text.lower().count(f"a purchase used your email {site.ADA}. is it yours?") == 2
    ada.submit(f"{site.ada_at_birch.customer_id}/refusal")
    assert "Birch Team" not in ada.get("/").text and "Birch Team" not in ada.get("/subscriptions").text
    with site.services.database.open(system(site.birch), write=True) as db:
        create_customer(db, site.birch, email=site.ADA, name="Ada again")
    home = ada.get("/")
    assert "Waiting for your approval" not in home.text, "who was told no does not ask through another row"
    stale = {"customer_id": [site.ada_at_acorn.customer_id, site.ada_at_birch.customer_id]}
    for _ in range(2):  # a second click, in a tab that was open before Birch was answered
        ada.post("/approvals/acceptance", stale)
        ada.post(f"/approvals/{site.ada_at_acorn.customer_id}/acceptance")
    assert "Is it yours?" not in ada.get("/").text and row_of(site, site.ada_at_birch).is_declined
    ada.get("/profile")
    ada.submit(f"{site.ada_at_birch.customer_id}/acceptance")
    assert "Birch Team" in ada.get("/").text and not row_of(site, site.ada_at_birch).declined_key
    ada.post("/approvals/acceptance", {"customer_id": [site.ben.customer_id]}, expect=404)


def test_the_business_door_asks_for_acceptance_too(site: Site) -> None:
    with site.services.database.open(system(site.acorn), write=True) as db:
        customer_id = create_customer(db, site.acorn, email="vera@grove.example", name="Call www.evil.example").customer_id
        _, url = create_dynamic_link(db, site.acorn, customer_id, settings=site.services.settings)
    buyer, vera, home = Buyer(site.acorn, customer_id, ""), site.customer("vera@grove.example"), f"/business/{site.acorn}/"
    for path in (home, f"{home}profile", f"{home}subscriptions"):
        page = vera.get(path)
        assert "Do you know this business" in page.h1 and "evil" not in page.text and "help@acorn" not in page.text
    vera.post(f"{home}profile", {"name": "Vera"})
    assert row_of(site, buyer).name == "Call www.evil.example"
    program = Visitor(site.app)
    program.get(url.removeprefix("http://localhost"))
    program.submit("/session/")
    program.post(f"{home}approval/acceptance", expect=404)
    assert not row_of(site, buyer).is_recognized, "the business's own link says nothing for the person"
    vera.get(f"{home}billing-history?state=paid")
    assert "Do you know this business" not in vera.submit("/acceptance").h1 and vera.path == f"{home}billing-history?state=paid"
    assert vera.post(f"{home}approval/acceptance", {"next": "//evil.example/"}) and vera.path == home
    vera.post(f"{home}approval/acceptance")  # a second click
    vera.post(f"{home}approval/refusal")
    assert row_of(site, buyer).is_recognized and "evil" in vera.get(f"{home}profile").body.decode()


def test_a_portal_link_does_not_recognize_a_signed_in_person(site: Site) -> None:
    with site.services.database.open(system(site.acorn), write=True) as db:
        customer_id = create_customer(db, site.acorn, email="tria@grove.example", name="Tria").customer_id
        _, url = create_dynamic_link(db, site.acorn, customer_id, settings=site.services.settings)
    tria, home = site.customer("tria@grove.example"), f"/business/{site.acorn}/"
    assert "Do you know this business" in tria.get(home).h1
    tria.get(url.removeprefix("http://localhost"))
    assert "Do you know this business" not in tria.submit("/session/").h1 and tria.path == home
    assert not row_of(site, Buyer(site.acorn, customer_id, "")).is_recognized and "Waiting for your approval" in tria.get("/").text
    tria.sign_in("tria@grove.example", f"/login/{site.acorn}?again=1")
    assert "Do you know this business" in tria.get(home).h1, (
        "a proof of her own came last, and what takes one is not kept from her by the link"
    )


@pytest.mark.parametrize(("answer", "then"), [("acceptance", "closed"), ("refusal", "")])
def test_a_closed_business_can_be_accepted_or_declined(site: Site, answer: str, then: str) -> None:
    with site.services.database.open(system(site.birch), write=True) as db:
        create_customer(db, site.birch, email=f"{answer}@grove.example", name="Late")
        the_business(db, write=True).archived_at = clock.now()
    late = site.customer(f"{answer}@grove.example")
    assert "Do you know this business" in late.get(f"/business/{site.birch}/").h1
    page = late.submit(f"/{answer}")
    assert "Do you know this business" not in page.h1 and then in page.text
    with site.services.database.open(system(site.birch), write=True) as db:
        the_business(db, write=True).archived_at = None


def test_a_decline_applies_to_one_address(site: Site) -> None:
    """After a mistyped address is corrected, the right holder is not affected by the decline."""
    with site.services.database.open(system(site.acorn), write=True) as db:
        buyer = Buyer(site.acorn, create_customer(db, site.acorn, email="wrong@grove.example", name="Noor").customer_id, "")
    wrong = site.customer("wrong@grove.example")
    wrong.submit(f"{buyer.customer_id}/refusal")
    assert row_of(site, buyer).is_declined
    with site.services.database.open(system(site.acorn), write=True) as db:
        update_customer(db, query.get_customer(db, buyer.customer_id), email="right@grove.example")
    assert not row_of(site, buyer).is_declined
    assert "Waiting for your approval" in site.customer("right@grove.example").get("/").text


def test_links_emailed_to_the_former_address_are_invalid(site: Site) -> None:
    buyer = site.buyer("acorn", "ivo@grove.example", "Ivo")
    with site.services.database.open(system(site.acorn), write=True) as db:
        mailed = [mail_portal_link(db, site.acorn, buyer.customer_id, settings=site.services.settings) for _ in range(2)]
        urls = [url_of(site.services.settings, item) for item in mailed]
        _, handed_on = create_dynamic_link(db, site.acorn, buyer.customer_id, settings=site.services.settings)
    old = Visitor(site.app)
    old.get(urls[0].removeprefix("http://localhost"))
    assert "Acorn Team" in old.submit("/session/").text
    with site.services.database.open(system(site.acorn), write=True) as db:
        update_customer(db, query.get_customer(db, buyer.customer_id), email="ivo@work.example")
    site.services.worker.drain()
    assert "Acorn Team" not in old.get(f"/business/{site.acorn}/").text and old.path.startswith("/login")
    for url in urls:
        assert "work.example" not in old.get(url.removeprefix("http://localhost"), expect=410).text
    old.post(urls[0].removeprefix("http://localhost") + "/resend", expect=410)
    program = Visitor(site.app)
    program.get(handed_on.removeprefix("http://localhost"))
    said = program.submit("/session/").text
    assert "Acorn Team" in said, "a program vouches for whom it gave the link to"
    assert "ivo@grove.example" not in program.get(f"/business/{site.acorn}/activity").text


def test_the_migration_recognizes_earlier_payers(site: Site) -> None:
    """Revision 0012 on existing rows: paid, changed by the business since, accepted after that, declined, and none of these."""
    at = clock.now()
    told: dict[str, dict[str, Any]] = {
        "paid": {"first_paid_at": at},
        "moved": {"first_paid_at": at},
        "again": {"first_paid_at": at, "accepted_at": at},
        "no": {"declined_at": at},
        "new": {},
    }
    with site.services.database.open(system(site.acorn), write=True) as db:
        for name, held in told.items():
            row = create_customer(db, site.acorn, email=f"{name}@before.example", name=name)
            if name in ("moved", "again"):
                emit(db, "customer.email_changed", business_id=site.acorn, customer_id=row.customer_id, silent=True)
            for field, value in held.items():
                setattr(row, field, value)
    owner = create_engine(site.services.settings.owner_url)
    with owner.begin() as connection, guard.raw_sql(), Operations.context(MigrationContext.configure(connection)):
        connection.exec_driver_sql("ALTER TABLE customers RENAME COLUMN recognized_key TO known_key")  # its name at that revision
        ScriptDirectory(MIGRATIONS).get_revision("0012").module._remember()
        connection.exec_driver_sql("ALTER TABLE customers RENAME COLUMN known_key TO recognized_key")
    owner.dispose()
    rows = {entry.name: entry for entry in site.rows(Customer, Customer.name.in_(list(told)))}
    assert {name for name, item in rows.items() if item.is_recognized} == {"paid", "again"}
    assert {name for name, item in rows.items() if item.is_declined} == {"no"}
    assert {name for name, item in rows.items() if item.address_since} == {"moved", "again"}


def test_many_rows_with_one_address_do_not_slow_pages(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("auth.visit_rows.MAX_UNACCEPTED", 3)
    ben = site.customer(site.BEN)
    with site.services.database.open(system(site.acorn), write=True) as db:
        for n in range(5):
            create_customer(db, site.acorn, email=site.BEN, name=f"Ben {n}")
    home = ben.get("/").text
    assert home.count("It uses the name") == 3 and "Birch Team" in home
    with site.services.database.open(everything("another business, later"), write=True) as db:
        later = create_business(db, name="Later", currency="EUR").business_id
    with site.services.database.open(system(later), write=True) as db:
        create_customer(db, later, email=site.BEN, name="Ben")
    ben.submit(f"{site.rows(Customer, Customer.name == 'Ben 0')[0].customer_id}/refusal")
    home = ben.get("/").text
    assert home.count("It uses the name") == 1 and "It uses the name Later" in home, "who writes an address often keeps nobody else out"


def test_a_move_between_own_addresses_keeps_recognition(site: Site) -> None:
    buyer = site.buyer("acorn", "cleo@duarte.example", "Cleo")
    cleo: Visitor = site.customer("cleo@duarte.example")
    with site.services.database.open(system(site.acorn), write=True) as db:
        update_customer(db, query.get_customer(db, buyer.customer_id), email="cleo@work.example")
    site.services.worker.drain()
    assert not row_of(site, buyer).is_recognized
    held = site.row(IdentityEmail, IdentityEmail.email_key == "cleo@duarte.example")
    with site.services.database.open(everything("a second address, proved"), write=True) as db:
        db.add(
            IdentityEmail(
                identity_id=held.identity_id,
                id=new_id("eml"),
                email="cleo@work.example",
                email_key="cleo@work.example",
                is_primary=False,
                verified_at=clock.wall() - timedelta(days=1),
            )
        )
    with site.services.database.open(system(site.acorn), write=True) as db:
        row = query.get_customer(db, buyer.customer_id)
        update_customer(db, row, email="cleo@duarte.example")
        update_customer(db, row, email="cleo@work.example")
    site.services.worker.drain()
    assert row_of(site, buyer).is_recognized and "Acorn Team" in cleo.get("/").text
    told = [
        recent_email.text
        for recent_email in mailbox.recent_emails(site.services.database, "cleo@duarte.example")
        if "••@work.example" in recent_email.text
    ]
    assert len(told) == 2 and all("help@acorn.example" in item for item in told), "to who was known, it says whom to ask"
    record = site.sam.get(site.at(f"/sales/customers/{buyer.customer_id}")).text
    changes = site.rows(Event, Event.type == "customer.email_changed", Event.customer_id == buyer.customer_id)
    assert "Has not approved your business yet" in record and [set(change.data) for change in changes] == [{"old"}] * 3, (
        "that both addresses are one person's is not the business's to read"
    )
    with site.services.database.open(everything("a copy of her data"), write=True) as db:
        db.add(PersonExport(identity_id=held.identity_id, id="exp_cleo", created_at=clock.wall()))
    cleo.get("/profile/addresses")
    cleo.submit("/removal")
    assert not site.rows(PersonExport, PersonExport.identity_id == held.identity_id), "it held what that address opened"


def test_emailed_links_are_limited(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate_limits, "portal_links", lambda customer_id, business_id: [Limit("one letter", 1, DAY)])
    before = len(mailbox.recent_emails(site.services.database, site.BEN))
    with site.services.database.open(system(site.birch), write=True) as db:
        for _ in range(3):
            mail_portal_link(db, site.birch, site.ben.customer_id, settings=site.services.settings)
    site.services.worker.drain()
    assert len(mailbox.recent_emails(site.services.database, site.BEN)) == before + 1


def test_the_acceptance_of_a_former_holder_does_not_count(site: Site) -> None:
    """Otherwise a business could allow its app, store a visitor's address in the row, and identify the visitor by a redirect."""
    with site.app.app_context(), site.services.database.open(system(site.acorn), write=True) as db:
        app, _ = apps.add(
            db,
            site.services.settings,
            site.services.outgoing,
            site.acorn,
            apps.AppForm("Notes", "http://localhost/back", "", ""),
            public=True,
        )
    client, at = clients.find(site.services.database, site.services.settings, app.id), clock.wall()
    assert client is not None
    ada = DisclosedCustomer(site.acorn, site.ada_at_acorn.customer_id, "Ada", site.ADA, "idn_ada", "gra_ada", at, None)
    mallory, by_business = replace(ada, identity_id="idn_mallory"), replace(ada, identity_id=None)
    for earlier in (mallory, by_business):
        consents.give(site.services.database, client, earlier, "openid email")
        assert consents.covers(site.services.database, client, earlier, "openid email")
        assert not consents.covers(site.services.database, client, ada, "openid")
    consents.give(site.services.database, client, ada, "openid")
    assert consents.covers(site.services.database, client, ada, "openid") and not consents.covers(
        site.services.database, client, ada, "email"
    )
    assert not consents.covers(site.services.database, client, mallory, "openid")
