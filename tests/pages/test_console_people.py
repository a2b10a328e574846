"""The console on both engines: customers found, written down and exported; two owners at once; history that nobody rewrites."""

from __future__ import annotations

import csv
import io
import re
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import delete, select, update
from sqlalchemy.exc import DBAPIError

from billing import knowing
from billing.commands.customers import create_customer, update_customer
from billing.finding import CustomerWord, asked, folded
from billing.loaded import SourceId, source_key
from billing.parties import Customer
from core import clock
from core.errors import Conflict, PortalError
from core.outbox import Event
from core.scope import everything, staff, system
from tenants import exports, joining
from tenants.team import Membership
from tests.house.test_statements import counted
from tests.pages.staffed import Shop


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def shop(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    engine: Any = request.getfixturevalue("postgres" if request.param == "postgresql" else "sqlite")
    urls, drop = engine.fresh()
    one = Shop.open(urls, tmp_path_factory.mktemp("people"))
    yield one
    one.house.database.dispose()
    drop()


def write_down(shop: Shop, *people: tuple[str, str]) -> list[str]:
    with shop.house.database.open(system(shop.acorn), write=True) as db:
        return [create_customer(db, shop.acorn, email=email, name=name).customer_id for name, email in people]


def names(shop: Shop, words: str) -> set[str]:
    page = shop.sam.get(shop.at("/sales/customers") + f"?q={words}")
    return {one.get_text() for one in page.soup.select("table.ledger tbody th a")}


# --- customers


def test_customers_are_found_by_every_word(shop: Shop) -> None:
    zoe, _ = write_down(shop, ("Zoë O'Neil", "zo.oneil@straße.example"), ("Zachary Oneida", "zach@oak.example"))
    assert names(shop, "zoe") == names(shop, "ZOË") == names(shop, "neil zo") == names(shop, "zo.oneil@straße.example") == {"Zoë O'Neil"}
    assert names(shop, "z") == {"Zoë O'Neil", "Zachary Oneida"} and names(shop, zoe) == {"Zoë O'Neil"}
    assert names(shop, "marlow") == {"Ada Marlow"} and names(shop, "hill") == set()  # Ben is Birch's
    assert names(shop, "%25") >= {"Ada Marlow"} and names(shop, "zoe marlow") == set()
    with shop.house.database.open(system(shop.acorn), write=True) as db:
        row = db.scalars(select(Customer).where(Customer.customer_id == zoe)).one()
        update_customer(db, row, name="Zoë Winter", phone="+441632960961")
    assert names(shop, "winter") == {"Zoë Winter"} and names(shop, "oneil zoe winter") == {"Zoë Winter"}  # her address still says oneil
    assert len(shop.rows(CustomerWord, CustomerWord.customer_id == zoe)) == len({"id", "address"} | set(
        folded("Zoë Winter zo.oneil@straße.example")))
    assert asked("  Ada@Marlow.example cus_AbC o'neil ") == ["ada@marlow.example", "cus_abc", "o", "neil"]


def test_the_search_seeks_an_index(shop: Shop) -> None:
    """Under row-level security too: no word is compared in a way that the database has to hide from its planner."""
    from core import guard

    sql = f"SELECT customer_id FROM customer_words WHERE business_id = '{shop.acorn}' AND word >= 'mar' AND word < 'mar\U0010ffff'"
    with shop.house.database.open(system(shop.acorn)) as db, guard.raw_sql():
        if shop.house.database.is_sqlite:
            plan = str(db.connection().exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}").all())
            assert "ix_customer_words_word" in plan and "SCAN" not in plan
        else:
            db.connection().exec_driver_sql("SET LOCAL enable_seqscan = off")  # few rows: else it reads them all
            plan = "\n".join(row[0] for row in db.connection().exec_driver_sql(f"EXPLAIN {sql}"))
            assert re.search(r"Index Cond: .*word >= 'mar'", plan), plan


def test_the_list_costs_the_same_for_sixty_as_for_two(shop: Shop) -> None:
    shop.sam.get(shop.at("/sales/customers"))
    with counted(shop.house) as few:
        shop.sam.get(shop.at("/sales/customers?q=marlow"))
    write_down(shop, *((f"Quentin Number{n}", f"quentin.{n}@queue.example") for n in range(60)))
    with counted(shop.house) as many:
        page = shop.sam.get(shop.at("/sales/customers?q=quentin"))
    assert len(many) == len(few) <= 5, "\n".join(many)
    seen = [one.get_text() for one in page.soup.select("table.ledger tbody th a")]
    while older := page.soup.find("a", rel="next"):
        page = shop.sam.get(older["href"])
        seen += [one.get_text() for one in page.soup.select("table.ledger tbody th a")]
    assert len(seen) == len(set(seen)) == 60 and seen[0] == "Quentin Number59"


def test_a_customer_is_written_down_and_changed_and_the_old_address_is_told(shop: Shop) -> None:
    sam = shop.sam
    sam.get(shop.at("/sales/customers/new"))
    page = shop.save("/sales/customers", expect=422, name="", email="nobody", phone="12", language="")
    assert page.soup.select_one("#errors") and len(page.soup.select("p.err")) == 3
    page = sam.submit("/sales/customers", name="Cleo Duarte", email="Cleo@Duarte.example", phone="+44 1632 960961")
    assert page.h1 == "Cleo Duarte" and "has not accepted you yet" in page.text and not sam.letters("cleo@duarte.example")
    sam.get(page.soup.find("a", string="Change details")["href"])
    page = sam.submit("/details", email="cleo@new.example")
    assert "We tell Cleo@duarte.example" in page.text
    told = sam.letters("Cleo@duarte.example")
    assert len(told) == 1 and "c••@new.example" in told[0].text and "Cleo Duarte" not in told[0].text  # never bought: a name is free text
    assert "before, it was Cleo@duarte.example" in page.text and "sam@acorn.example" in page.text


def test_staff_enter_the_company_that_invoices_are_made_out_to(shop: Shop) -> None:
    sam = shop.sam
    sam.get(shop.at("/sales/customers/new"))
    company = {"name": "Dora Weiss", "email": "dora@weiss.example", "business_name": "Weiss GmbH"}
    page = sam.submit("/sales/customers", expect=422, **company)
    assert "A company's invoice needs its tax number." in page.text and page.soup.select_one("#tax_id")["aria-invalid"] == "true"
    page = sam.submit("/sales/customers", **company, tax_id=" DE 136 695 976 ")
    assert "Weiss GmbH" in page.text and "DE 136 695 976" in page.text and names(shop, "weiss") == {"Dora Weiss"}
    sam.get(page.soup.find("a", string="Change details")["href"])
    page = sam.submit("/details", business_name="", tax_id="")
    assert "Weiss GmbH" not in page.text
    row = shop.row(Customer, Customer.email == "dora@weiss.example")
    assert (row.business_name, row.tax_id) == (None, None)


def test_the_file_is_written_in_batches_and_holds_no_formula(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exports, "BATCH", 7)
    evil = ["=HYPERLINK(\"x\")", "+1", "-1", "@SUM(A1)"]
    write_down(shop, *((name, f"evil{n}@cells.example") for n, name in enumerate(evil)))
    write_down(shop, *((f"Cell {n}", f"c{n}@cells.example") for n in range(16)))
    sam = shop.sam
    sam.get(shop.at("/sales/customers?q=cells"))
    page = sam.submit("/exports")
    assert "being written" in page.text and page.response.headers["Refresh"] == "3"
    job = page.soup.select_one("progress")
    assert (job["max"], job["value"]) == ("20", "0")
    sam.get(sam.path + "/customers.csv", expect=404)  # not yet
    sam.letters()  # the worker works
    page = sam.get(sam.path.removesuffix("/customers.csv"))
    assert "20 customers" in page.text
    answer = sam.client.get(page.soup.select_one("a[download]")["href"])
    assert answer.content_type == "text/csv; charset=utf-8" and "customers.csv" in answer.headers["Content-Disposition"]
    rows = list(csv.reader(io.StringIO(answer.get_data(as_text=True).removeprefix("\ufeff"))))
    assert rows[0][:3] == ["customer_id", "name", "email"] and len(rows) == 21
    assert {row[1] for row in rows} >= {f"'{name}" for name in evil}
    export_id = page.soup.select_one("a[download]")["href"].split("/")[-2]
    with shop.house.database.open(system(shop.acorn)) as db:
        assert db.scalars(select(exports.ExportPart.id).where(exports.ExportPart.export_id == export_id)).all() == [
            f"{export_id}:{n:06d}" for n in range(3)]


def test_a_member_asks_for_so_many_files(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each has a budget of their own; what was asked for before is still there."""
    sue = shop.staff("sue@acorn.example", "owner")
    monkeypatch.setattr(exports, "AN_HOUR", 2)
    for expect in (200, 200, 429):
        sue.get(shop.at("/sales/customers"))
        page = sue.submit("/exports", expect=expect)
    assert exports.ENOUGH in page.text and "sue@acorn.example" in page.text
    with shop.house.database.open(system(shop.acorn)) as db:
        mine = db.scalar(select(Membership.id).where(Membership.email == "sue@acorn.example"))
        asked = db.scalars(select(exports.CustomerExport.id).where(exports.CustomerExport.asked_by == mine)).all()
    assert len(asked) == 2 and sue.get(shop.at(f"/sales/customers/exports/{asked[0]}"))
    shop.sam.get(shop.at("/sales/customers"))
    shop.sam.submit("/exports")


def test_two_owners_who_remove_each_other_leave_one(shop: Shop) -> None:
    """At the same moment, in a business of their own: one waits for the other and is then refused."""
    with shop.house.database.open(everything("a business of two"), write=True) as db:
        two = [Membership(business_id=shop.birch, id=f"mem_{n}", identity_id=f"idn_{n}", email=f"{n}@birch.example",
                          email_key=f"{n}@birch.example", role="owner", created_at=clock.wall()) for n in ("one", "two")]
        db.add_all(two)
    barrier, answers = threading.Barrier(2), []

    def remove(me: str, other: str) -> None:
        barrier.wait()
        try:
            with shop.house.database.open(staff(shop.birch, me), write=True) as db:
                joining.remove(db, other)
            answers.append("removed")
        except Conflict:
            answers.append("refused")

    threads = [threading.Thread(target=remove, args=pair) for pair in (("mem_one", "mem_two"), ("mem_two", "mem_one"))]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert sorted(answers) == ["refused", "removed"]
    assert len(shop.rows(Membership, Membership.business_id == shop.birch, Membership.removed_at.is_(None))) == 1


# --- activity


def test_activity_says_who_and_can_be_narrowed(shop: Shop) -> None:
    sam = shop.sam
    sam.get(shop.at("/sales/customers/new"))
    sam.submit("/sales/customers", name="Gus Grove", email="gus@grove.example")
    gus = shop.row(Customer, Customer.name == "Gus Grove").customer_id
    page = sam.get(shop.at(f"/activity?customer={gus}"))
    assert "Only what concerns Gus Grove" in page.text and len(page.soup.select("tbody tr")) == 1
    assert "Written down as a customer." in page.text and "sam@acorn.example" in page.text
    assert "Gus Grove" not in sam.get(shop.at("/activity?actor=system&kind=customers")).text
    write_down(shop, *((f"Paula Page{n}", f"paula{n}@page.example") for n in range(55)))
    seen, page = 0, sam.get(shop.at("/activity?kind=customers"))
    while True:
        seen += len(page.soup.select("tbody tr"))
        older = page.soup.find("a", rel="next")
        if not older:
            break
        page = sam.get(older["href"])
    starts = ("customer.", "customers.", "profile.", "portal_session.", "portal_link.", "payment_method.")
    assert seen == len([one for one in shop.rows(Event, Event.business_id == shop.acorn) if one.type.startswith(starts)]) > 50


def test_history_cannot_be_rewritten(shop: Shop) -> None:
    """By nobody: the database itself refuses, whoever asks."""
    for statement in (update(Event).values(type="nothing.happened"), delete(Event)):
        with pytest.raises((DBAPIError, PortalError)), shop.house.database.open(everything("try to rewrite history"), write=True) as db:
            db.execute(statement, execution_options={"synchronize_session": False})
    with pytest.raises(DBAPIError), shop.house.database.open(everything("try to change one event"), write=True) as db:
        db.scalars(select(Event).limit(1)).one().actor_id = "somebody else"


def test_staff_read_who_requested_a_file_when_a_customer_declined_and_where_a_row_came_from(shop: Shop) -> None:
    [customer] = write_down(shop, ("Edna Quill", "edna@quill.example"))
    with shop.house.database.open(system(shop.acorn), write=True) as db:
        row = db.scalars(select(Customer).where(Customer.customer_id == customer)).one()
        knowing.declined(row)
        db.add(SourceId(business_id=shop.acorn, id=source_key("oldbilling", "customer", "c1"), account_id="oldbilling", kind="customer",
                        reference="c1", row_id=customer, digest="x", loaded_at=clock.wall()))
    text = shop.sam.get(shop.at(f"/sales/customers/{customer}")).text
    assert "They said so on" in text and "oldbilling" in text and "last read" in text
    with shop.house.database.open(system(shop.acorn), write=True) as db:
        mine = db.scalars(select(Membership).where(Membership.email == "sam@acorn.example")).one().id
        job = exports.ask(db, shop.acorn, "quill", by=mine).id
    assert "Requested by sam@acorn.example" in shop.sam.get(shop.at(f"/sales/customers/exports/{job}")).text


def test_staff_block_and_unblock_a_customer(shop: Shop) -> None:
    [wanda] = write_down(shop, ("Wanda Block", "wanda@oak.example"))
    url = shop.at(f"/sales/customers/{wanda}")
    shop.sam.get(url)
    assert "cannot buy anything" in shop.sam.submit("/block").text
    assert shop.row(Customer, Customer.customer_id == wanda).blocked_at is not None
    assert "Blocked since" in shop.sam.get(url).text
    shop.sam.submit("/block/removal")
    assert shop.row(Customer, Customer.customer_id == wanda).blocked_at is None
    told = [one.type for one in shop.rows(Event, Event.noun_id == wanda)]
    assert told.count("customer.blocked") == told.count("customer.unblocked") == 1
