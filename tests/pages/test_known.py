"""Known is who paid or accepted under the address a row has now: what a business writes into it proves nothing (safety 3.2)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.script import ScriptDirectory
from sqlalchemy import select

from auth import budgets
from auth.budgets import DAY, Limit
from auth.exports import PersonExport
from auth.links import create_dynamic_link, mail_portal_link, url_of
from auth.models import IdentityEmail
from auth.provider import apps, clients, consents
from auth.provider.who import Who
from billing.commands import loading
from billing.commands.businesses import create_business
from billing.commands.buying import buy
from billing.commands.customers import create_customer, update_customer
from billing.commands.rules import the_business
from billing.loaded import SourceId, source_key
from billing.parties import Customer
from billing.provenance import Origin
from billing.queries import customers as query
from core import clock, guard, mailbox
from core.ids import new_id
from core.outbox import Event, emit
from core.revisions import MIGRATIONS
from core.scope import everything, system
from tenants.keys import new_key
from tenants.loading.shapes import record
from tests import unpaid
from tests.cast import Buyer
from tests.pages.staffed import Shop
from tests.unpaid import MONTH
from tests.visitor import Visitor


@pytest.fixture(scope="module")
def shop(sqlite: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    urls, drop = sqlite.fresh()
    one = Shop.open(urls, tmp_path_factory.mktemp("known"))
    yield one
    one.house.database.dispose()
    drop()


def by_program(shop: Shop, buyer: Buyer, email: str) -> None:
    with shop.house.database.open(system(shop.acorn), write=True) as db:
        secret = new_key(db, shop.acorn, "till", settings=shop.house.settings)[1]
    answer = shop.app.test_client().patch(
        f"/api/customers/{buyer.customer_id}", json={"email": email}, headers={"Authorization": f"Bearer {secret}"})
    assert answer.status_code == 200


def by_staff(shop: Shop, buyer: Buyer, email: str) -> None:
    shop.sam.get(shop.at(f"/sales/customers/{buyer.customer_id}/details"))
    shop.sam.submit("/details", email=email)


def by_another_system(shop: Shop, buyer: Buyer, email: str) -> None:
    told = record("customer", {"customer_id": buyer.customer_id, "email": email, "name": "Pat"})
    with shop.house.database.open(system(shop.acorn), write=True) as db:
        origin = Origin("acc_elsewhere", "elsewhere", True)
        one = source_key(origin.account_id, "customer", buyer.customer_id)
        if db.scalar(select(SourceId).where(SourceId.id == one)) is None:  # as if the account had brought the row
            db.add(SourceId(business_id=shop.acorn, id=one, account_id=origin.account_id, kind="customer", reference=buyer.customer_id,
                            row_id=buyer.customer_id, digest="before", loaded_at=clock.wall()))
            row = db.scalar(select(Customer).where(Customer.customer_id == buyer.customer_id))
            assert row is not None
            row.account_id = origin.account_id
            db.flush()
        assert loading.load(db, origin, [told], renew=True).changed


def row_of(shop: Shop, buyer: Buyer) -> Customer:
    return shop.row(Customer, Customer.customer_id == buyer.customer_id)  # type: ignore[no-any-return]


@pytest.mark.parametrize("change", [by_program, by_staff, by_another_system])
def test_another_address_has_paid_nothing(shop: Shop, change: Callable[..., None]) -> None:
    old, new = f"{change.__name__}@void.example", f"{change.__name__}@hill.example"
    buyer = shop.buyer("acorn", old, "Pat")
    before = row_of(shop, buyer)
    assert before.is_known and before.first_paid_at
    change(shop, buyer, new)
    after = row_of(shop, buyer)
    assert (after.email_key, after.is_known, after.first_paid_at) == (new, False, before.first_paid_at), "money stays about money"
    assert [one.customer_id for one in shop.rows(Customer, Customer.is_known, Customer.email_key == new)] == []
    change(shop, buyer, old)
    assert row_of(shop, buyer).is_known, "what was proved under this address holds"


def test_the_new_holder_is_asked_and_an_old_card_does_not_answer_for_them(shop: Shop) -> None:
    buyer, new = shop.buyer("acorn", "pat@void.example", "Call www.evil.example"), "gus@grove.example"
    by_program(shop, buyer, new)
    gus = shop.customer(new)
    home = gus.get("/")
    assert "Wants to appear here" in home.text and "Acorn Team" not in home.text and "evil" not in home.text
    clock.turn(MONTH)
    unpaid.settle(shop)
    assert unpaid.taken(shop, buyer) and not row_of(shop, buyer).is_known, "a renewal took from the card of whoever had the row before"
    for one in mailbox.letters(shop.house.database, new):
        said = f"{one.subject} {one.text} {one.html}"
        assert not [word for word in ("Acorn Team", "for desktop", "evil", "ACO-") if word in said] and not one.attachments, said
    page = buy(shop.house.till, system(shop.acorn), customer_id=buyer.customer_id, cart=[(shop.products["acorn.once"], 1)])
    unpaid.fill_in(shop, page.link or "")
    unpaid.settle(shop)
    assert row_of(shop, buyer).is_known and "Was that you?" in gus.get("/").text


def test_nobody_can_tell_who_paid_so_the_person_is_asked(shop: Shop) -> None:
    ada = shop.customer(shop.ADA)
    assert ada.get("/").text.count("Was that you?") == 2
    ada.submit(f"{shop.ada_at_birch.customer_id}/refusal")
    assert "Birch Team" not in ada.get("/").text and "Birch Team" not in ada.get("/subscriptions").text
    with shop.house.database.open(system(shop.birch), write=True) as db:
        create_customer(db, shop.birch, email=shop.ADA, name="Ada again")
    home = ada.get("/")
    assert "Wants to appear here" not in home.text, "who was told no does not ask through another row"
    stale = {"customer_id": [shop.ada_at_acorn.customer_id, shop.ada_at_birch.customer_id]}
    for _ in range(2):  # a second click, in a tab that was open before Birch was answered
        ada.post("/appearances/acceptance", stale)
        ada.post(f"/appearances/{shop.ada_at_acorn.customer_id}/acceptance")
    assert "Was that you?" not in ada.get("/").text and row_of(shop, shop.ada_at_birch).is_declined
    ada.get("/profile")
    ada.submit(f"{shop.ada_at_birch.customer_id}/acceptance")
    assert "Birch Team" in ada.get("/").text and not row_of(shop, shop.ada_at_birch).declined_key
    ada.post("/appearances/acceptance", {"customer_id": [shop.ben.customer_id]}, expect=404)


def test_its_own_door_asks_as_well(shop: Shop) -> None:
    with shop.house.database.open(system(shop.acorn), write=True) as db:
        customer_id = create_customer(db, shop.acorn, email="vera@grove.example", name="Call www.evil.example").customer_id
        _, url = create_dynamic_link(db, shop.acorn, customer_id, settings=shop.house.settings)
    buyer, vera, home = Buyer(shop.acorn, customer_id, ""), shop.customer("vera@grove.example"), f"/business/{shop.acorn}/"
    for path in (home, f"{home}profile", f"{home}subscriptions"):
        page = vera.get(path)
        assert "not accepted yet" in page.h1 and "evil" not in page.text and "help@acorn" not in page.text
    vera.post(f"{home}profile", {"name": "Vera"})
    assert row_of(shop, buyer).name == "Call www.evil.example"
    program = Visitor(shop.app)
    program.get(url.removeprefix("http://localhost"))
    program.submit("/session/")
    program.post(f"{home}appearance/acceptance", expect=404)
    assert not row_of(shop, buyer).is_known, "the business's own link says nothing for the person"
    vera.get(f"{home}billing-history?state=paid")
    assert "not accepted yet" not in vera.submit("/acceptance").h1 and vera.path == f"{home}billing-history?state=paid"
    assert vera.post(f"{home}appearance/acceptance", {"next": "//evil.example/"}) and vera.path == home
    vera.post(f"{home}appearance/acceptance")  # a second click
    vera.post(f"{home}appearance/refusal")
    assert row_of(shop, buyer).is_known and "evil" in vera.get(f"{home}profile").body.decode()


def test_a_link_asks_nothing_of_somebody_signed_in_either(shop: Shop) -> None:
    with shop.house.database.open(system(shop.acorn), write=True) as db:
        customer_id = create_customer(db, shop.acorn, email="tria@grove.example", name="Tria").customer_id
        _, url = create_dynamic_link(db, shop.acorn, customer_id, settings=shop.house.settings)
    tria, home = shop.customer("tria@grove.example"), f"/business/{shop.acorn}/"
    assert "not accepted yet" in tria.get(home).h1
    tria.get(url.removeprefix("http://localhost"))
    assert "not accepted yet" not in tria.submit("/session/").h1 and tria.path == home
    assert not row_of(shop, Buyer(shop.acorn, customer_id, "")).is_known and "Wants to appear here" in tria.get("/").text
    tria.sign_in("tria@grove.example", f"/login/{shop.acorn}?again=1")
    assert "not accepted yet" in tria.get(home).h1, "a proof of her own came last, and what takes one is not kept from her by the link"


@pytest.mark.parametrize(("answer", "then"), [("acceptance", "closed"), ("refusal", "")])
def test_who_closed_its_shop_is_answered_as_well(shop: Shop, answer: str, then: str) -> None:
    with shop.house.database.open(system(shop.birch), write=True) as db:
        create_customer(db, shop.birch, email=f"{answer}@grove.example", name="Late")
        the_business(db, write=True).archived_at = clock.now()
    late = shop.customer(f"{answer}@grove.example")
    assert "not accepted yet" in late.get(f"/business/{shop.birch}/").h1
    page = late.submit(f"/{answer}")
    assert "not accepted yet" not in page.h1 and then in page.text
    with shop.house.database.open(system(shop.birch), write=True) as db:
        the_business(db, write=True).archived_at = None


def test_not_mine_is_said_of_an_address(shop: Shop) -> None:
    """Somebody mistyped: who has the right address is not kept from what is theirs."""
    with shop.house.database.open(system(shop.acorn), write=True) as db:
        buyer = Buyer(shop.acorn, create_customer(db, shop.acorn, email="wrong@grove.example", name="Noor").customer_id, "")
    wrong = shop.customer("wrong@grove.example")
    wrong.submit(f"{buyer.customer_id}/refusal")
    assert row_of(shop, buyer).is_declined
    with shop.house.database.open(system(shop.acorn), write=True) as db:
        update_customer(db, query.one(db, buyer.customer_id), email="right@grove.example")
    assert not row_of(shop, buyer).is_declined
    assert "Wants to appear here" in shop.customer("right@grove.example").get("/").text


def test_what_was_mailed_to_the_address_before_opens_nothing(shop: Shop) -> None:
    buyer = shop.buyer("acorn", "ivo@grove.example", "Ivo")
    with shop.house.database.open(system(shop.acorn), write=True) as db:
        mailed = [mail_portal_link(db, shop.acorn, buyer.customer_id, settings=shop.house.settings) for _ in range(2)]
        urls = [url_of(shop.house.settings, one) for one in mailed]
        _, handed_on = create_dynamic_link(db, shop.acorn, buyer.customer_id, settings=shop.house.settings)
    old = Visitor(shop.app)
    old.get(urls[0].removeprefix("http://localhost"))
    assert "Acorn Team" in old.submit("/session/").text
    with shop.house.database.open(system(shop.acorn), write=True) as db:
        update_customer(db, query.one(db, buyer.customer_id), email="ivo@work.example")
    shop.house.worker.drain()
    assert "Acorn Team" not in old.get(f"/business/{shop.acorn}/").text and old.path.startswith("/login")
    for url in urls:
        assert "work.example" not in old.get(url.removeprefix("http://localhost"), expect=410).text
    old.post(urls[0].removeprefix("http://localhost") + "/again", expect=410)
    program = Visitor(shop.app)
    program.get(handed_on.removeprefix("http://localhost"))
    said = program.submit("/session/").text
    assert "Acorn Team" in said, "a program vouches for whom it gave the link to"
    assert "ivo@grove.example" not in program.get(f"/business/{shop.acorn}/activity").text


def test_who_was_known_before_it_was_written_down_is_known(shop: Shop) -> None:
    """Revision 0012 on rows of before it: paid, moved by the business since, accepted after that, declined, and none of it."""
    at = clock.now()
    told: dict[str, dict[str, Any]] = {
        "paid": {"first_paid_at": at}, "moved": {"first_paid_at": at}, "again": {"first_paid_at": at, "accepted_at": at},
        "no": {"declined_at": at}, "new": {}}
    with shop.house.database.open(system(shop.acorn), write=True) as db:
        for name, held in told.items():
            row = create_customer(db, shop.acorn, email=f"{name}@before.example", name=name)
            if name in ("moved", "again"):
                emit(db, "customer.email_changed", business_id=shop.acorn, customer_id=row.customer_id, silent=True)
            for field, value in held.items():
                setattr(row, field, value)
    with shop.house.database.engine.begin() as connection, guard.raw_sql(), Operations.context(MigrationContext.configure(connection)):
        ScriptDirectory(MIGRATIONS).get_revision("0012").module._remember()
    rows = {one.name: one for one in shop.rows(Customer, Customer.name.in_(list(told)))}
    assert {name for name, one in rows.items() if one.is_known} == {"paid", "again"}
    assert {name for name, one in rows.items() if one.is_declined} == {"no"}
    assert {name for name, one in rows.items() if one.address_since} == {"moved", "again"}


def test_an_address_written_a_thousand_times_slows_nobody_down(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("auth.sessions.AT_MOST", 3)
    ben = shop.customer(shop.BEN)
    with shop.house.database.open(system(shop.acorn), write=True) as db:
        for n in range(5):
            create_customer(db, shop.acorn, email=shop.BEN, name=f"Ben {n}")
    home = ben.get("/").text
    assert home.count("It calls itself") == 3 and "Birch Team" in home
    with shop.house.database.open(everything("another business, later"), write=True) as db:
        later = create_business(db, name="Later", currency="EUR").business_id
    with shop.house.database.open(system(later), write=True) as db:
        create_customer(db, later, email=shop.BEN, name="Ben")
    ben.submit(f"{shop.rows(Customer, Customer.name == 'Ben 0')[0].customer_id}/refusal")
    home = ben.get("/").text
    assert home.count("It calls itself") == 1 and "It calls itself Later" in home, "who writes an address often keeps nobody else out"


def test_both_addresses_are_hers(shop: Shop) -> None:
    buyer = shop.buyer("acorn", "cleo@duarte.example", "Cleo")
    cleo: Visitor = shop.customer("cleo@duarte.example")
    with shop.house.database.open(system(shop.acorn), write=True) as db:
        update_customer(db, query.one(db, buyer.customer_id), email="cleo@work.example")
    shop.house.worker.drain()
    assert not row_of(shop, buyer).is_known
    held = shop.row(IdentityEmail, IdentityEmail.email_key == "cleo@duarte.example")
    with shop.house.database.open(everything("a second address, proved"), write=True) as db:
        db.add(IdentityEmail(identity_id=held.identity_id, id=new_id("eml"), email="cleo@work.example", email_key="cleo@work.example",
                             is_primary=False, verified_at=clock.wall() - timedelta(days=1)))
    with shop.house.database.open(system(shop.acorn), write=True) as db:
        row = query.one(db, buyer.customer_id)
        update_customer(db, row, email="cleo@duarte.example")
        update_customer(db, row, email="cleo@work.example")
    shop.house.worker.drain()
    assert row_of(shop, buyer).is_known and "Acorn Team" in cleo.get("/").text
    told = [one.text for one in mailbox.letters(shop.house.database, "cleo@duarte.example") if "••@work.example" in one.text]
    assert len(told) == 2 and all("help@acorn.example" in one for one in told), "to who was known, it says whom to ask"
    record = shop.sam.get(shop.at(f"/sales/customers/{buyer.customer_id}")).text
    changes = shop.rows(Event, Event.type == "customer.email_changed", Event.customer_id == buyer.customer_id)
    assert "has not accepted you yet" in record and [set(one.data) for one in changes] == [{"old"}] * 3, \
        "that both addresses are one person's is not the business's to read"
    with shop.house.database.open(everything("a copy of her data"), write=True) as db:
        db.add(PersonExport(identity_id=held.identity_id, id="exp_cleo", created_at=clock.wall()))
    cleo.get("/profile/addresses")
    cleo.submit("/removal")
    assert not shop.rows(PersonExport, PersonExport.identity_id == held.identity_id), "it held what that address opened"


def test_links_by_letter_are_counted(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budgets, "portal_links", lambda customer_id, business_id: [Limit("one letter", 1, DAY)])
    before = len(mailbox.letters(shop.house.database, shop.BEN))
    with shop.house.database.open(system(shop.birch), write=True) as db:
        for _ in range(3):
            mail_portal_link(db, shop.birch, shop.ben.customer_id, settings=shop.house.settings)
    shop.house.worker.drain()
    assert len(mailbox.letters(shop.house.database, shop.BEN)) == before + 1


def test_what_somebody_else_allowed_in_a_row_tells_nothing_of_its_holder(shop: Shop) -> None:
    """Else a business allows its own app in a row, writes an address into it, and knows every visitor of its site by a redirect."""
    with shop.app.app_context(), shop.house.database.open(system(shop.acorn), write=True) as db:
        app, _ = apps.add(db, shop.house.settings, shop.house.outgoing, shop.acorn, apps.Wish("Notes", "http://localhost/back", "", ""),
                          public=True)
    client, at = clients.find(shop.house.database, shop.house.settings, app.id), clock.wall()
    assert client is not None
    ada = Who(shop.acorn, shop.ada_at_acorn.customer_id, "Ada", shop.ADA, "idn_ada", "gra_ada", at, None)
    mallory, by_business = replace(ada, identity_id="idn_mallory"), replace(ada, identity_id=None)
    for earlier in (mallory, by_business):
        consents.give(shop.house.database, client, earlier, "openid email")
        assert consents.covers(shop.house.database, client, earlier, "openid email")
        assert not consents.covers(shop.house.database, client, ada, "openid")
    consents.give(shop.house.database, client, ada, "openid")
    assert consents.covers(shop.house.database, client, ada, "openid") and not consents.covers(shop.house.database, client, ada, "email")
    assert not consents.covers(shop.house.database, client, mallory, "openid")
