"""Customers in the console on both engines: searched, added and exported; concurrent changes by two owners; append-only events."""

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

from billing.charging import recognition
from billing.customers.customers import create_customer, update_customer
from billing.model.customer_search import CustomerWord, folded, query_words
from billing.model.imported_records import SourceId, source_key
from billing.model.parties import Customer
from core import clock
from core.errors import Conflict, PortalError
from core.outbox import Event
from core.scope import everything, staff, system
from tenants import exports, memberships
from tenants.team import Membership
from tests.house.test_statements import counted
from tests.pages.console_setup import Site

pytestmark = pytest.mark.one_engine  # what people see and type; other tests run these statements on both


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    engine: Any = request.getfixturevalue("postgres" if request.param == "postgresql" else "sqlite")
    urls, drop = engine.fresh()
    item = Site.open(urls, tmp_path_factory.mktemp("people"))
    yield item
    item.services.database.dispose()
    drop()


def write_down(site: Site, *people: tuple[str, str]) -> list[str]:
    with site.services.database.open(system(site.acorn), write=True) as db:
        return [create_customer(db, site.acorn, email=email, name=name).customer_id for name, email in people]


def names(site: Site, words: str) -> set[str]:
    page = site.sam.get(site.at("/sales/customers") + f"?q={words}")
    return {row.get_text() for row in page.soup.select("table.ledger tbody th a")}


# --- customers


def test_customers_are_found_by_each_word(site: Site) -> None:
    zoe, _ = write_down(site, ("Zoë O'Neil", "zo.oneil@straße.example"), ("Zachary Oneida", "zach@oak.example"))
    assert names(site, "zoe") == names(site, "ZOË") == names(site, "neil zo") == names(site, "zo.oneil@straße.example") == {"Zoë O'Neil"}
    assert names(site, "z") == {"Zoë O'Neil", "Zachary Oneida"} and names(site, zoe) == {"Zoë O'Neil"}
    assert names(site, "marlow") == {"Ada Marlow"} and names(site, "hill") == set()  # Ben is Birch's
    assert names(site, "%25") >= {"Ada Marlow"} and names(site, "zoe marlow") == set()
    with site.services.database.open(system(site.acorn), write=True) as db:
        row = db.scalars(select(Customer).where(Customer.customer_id == zoe)).one()
        update_customer(db, row, name="Zoë Winter", phone="+441632960961")
    assert names(site, "winter") == {"Zoë Winter"} and names(site, "oneil zoe winter") == {"Zoë Winter"}  # her address still says oneil
    assert len(site.rows(CustomerWord, CustomerWord.customer_id == zoe)) == len(
        {"id", "address"} | set(folded("Zoë Winter zo.oneil@straße.example"))
    )
    assert query_words("  Ada@Marlow.example cus_AbC o'neil ") == ["ada@marlow.example", "cus_abc", "o", "neil"]


def test_the_customer_search_uses_an_index(site: Site) -> None:
    """Under row-level security too: no comparison prevents the planner from using the index."""
    from core import guard

    sql = f"SELECT customer_id FROM customer_search_words WHERE business_id = '{site.acorn}' AND word >= 'mar' AND word < 'mar\U0010ffff'"
    with site.services.database.open(system(site.acorn)) as db, guard.raw_sql():
        if site.services.database.is_sqlite:
            plan = str(db.connection().exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}").all())
            assert "ix_customer_search_words_word" in plan and "SCAN" not in plan
        else:
            db.connection().exec_driver_sql("SET LOCAL enable_seqscan = off")  # with few rows the planner reads the whole table otherwise
            plan = "\n".join(row[0] for row in db.connection().exec_driver_sql(f"EXPLAIN {sql}"))
            assert re.search(r"Index Cond: .*word >= 'mar'", plan), plan


def test_the_customer_list_costs_a_fixed_number_of_statements(site: Site) -> None:
    site.sam.get(site.at("/sales/customers"))
    with counted(site.services) as few:
        site.sam.get(site.at("/sales/customers?q=marlow"))
    write_down(site, *((f"Quentin Number{n}", f"quentin.{n}@queue.example") for n in range(60)))
    with counted(site.services) as many:
        page = site.sam.get(site.at("/sales/customers?q=quentin"))
    assert len(many) == len(few) <= 5, "\n".join(many)
    seen = [row.get_text() for row in page.soup.select("table.ledger tbody th a")]
    while older := page.soup.find("a", rel="next"):
        page = site.sam.get(older["href"])
        seen += [row.get_text() for row in page.soup.select("table.ledger tbody th a")]
    assert len(seen) == len(set(seen)) == 60 and seen[0] == "Quentin Number59"


def test_a_customer_is_added_and_changed_and_the_old_address_is_notified(site: Site) -> None:
    sam = site.sam
    sam.get(site.at("/sales/customers/new"))
    page = site.save("/sales/customers", expect=422, name="", email="nobody", phone="12", language="")
    assert page.soup.select_one("#errors") and len(page.soup.select("p.err")) == 3
    page = sam.submit("/sales/customers", name="Cleo Duarte", email="Cleo@Duarte.example", phone="+44 1632 960961")
    assert page.h1 == "Cleo Duarte" and "Has not approved your business yet" in page.text and not sam.emails("cleo@duarte.example")
    sam.get(page.soup.find("a", string="Edit details")["href"])
    page = sam.submit("/details", email="cleo@new.example")
    assert "We email Cleo@duarte.example" in page.text
    told = sam.emails("Cleo@duarte.example")
    assert len(told) == 1 and "c••@new.example" in told[0].text and "Cleo Duarte" not in told[0].text  # never bought: a name is free text
    assert "The previous address was Cleo@duarte.example." in page.text and "sam@acorn.example" in page.text


def test_staff_enter_the_company_that_invoices_are_made_out_to(site: Site) -> None:
    sam = site.sam
    sam.get(site.at("/sales/customers/new"))
    company = {"name": "Dora Weiss", "email": "dora@weiss.example", "business_name": "Weiss GmbH"}
    page = sam.submit("/sales/customers", expect=422, **company)
    assert "Enter the company's tax number." in page.text and page.soup.select_one("#tax_id")["aria-invalid"] == "true"
    page = sam.submit("/sales/customers", **company, tax_id=" DE 136 695 976 ")
    assert "Weiss GmbH" in page.text and "DE 136 695 976" in page.text and names(site, "weiss") == {"Dora Weiss"}
    sam.get(page.soup.find("a", string="Edit details")["href"])
    page = sam.submit("/details", business_name="", tax_id="")
    assert "Weiss GmbH" not in page.text
    row = site.row(Customer, Customer.email == "dora@weiss.example")
    assert (row.business_name, row.tax_id) == (None, None)


def test_the_export_is_written_in_batches_without_formulas(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exports, "BATCH", 7)
    evil = ['=HYPERLINK("x")', "+1", "-1", "@SUM(A1)"]
    write_down(site, *((name, f"evil{n}@cells.example") for n, name in enumerate(evil)))
    write_down(site, *((f"Cell {n}", f"c{n}@cells.example") for n in range(16)))
    sam = site.sam
    sam.get(site.at("/sales/customers?q=cells"))
    page = sam.submit("/exports")
    assert "Preparing your file" in page.text and page.response.headers["Refresh"] == "3"
    job = page.soup.select_one("progress")
    assert (job["max"], job["value"]) == ("20", "0")
    sam.get(sam.path + "/customers.csv", expect=404)  # not yet
    sam.emails()  # the worker works
    page = sam.get(sam.path.removesuffix("/customers.csv"))
    assert "20 customers" in page.text
    answer = sam.client.get(page.soup.select_one("a[download]")["href"])
    assert answer.content_type == "text/csv; charset=utf-8" and "customers.csv" in answer.headers["Content-Disposition"]
    rows = list(csv.reader(io.StringIO(answer.get_data(as_text=True).removeprefix("\ufeff"))))
    assert rows[0][:3] == ["customer_id", "name", "email"] and len(rows) == 21
    assert {row[1] for row in rows} >= {f"'{name}" for name in evil}
    export_id = page.soup.select_one("a[download]")["href"].split("/")[-2]
    with site.services.database.open(system(site.acorn)) as db:
        assert db.scalars(select(exports.ExportPart.id).where(exports.ExportPart.export_id == export_id)).all() == [
            f"{export_id}:{n:06d}" for n in range(3)
        ]


def test_exports_per_member_are_limited(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each member has a separate limit. Earlier exports stay available."""
    sue = site.staff("sue@acorn.example", "owner")
    monkeypatch.setattr(exports, "PER_HOUR", 2)
    for expect in (200, 200, 429):
        sue.get(site.at("/sales/customers"))
        page = sue.submit("/exports", expect=expect)
    assert exports.TOO_MANY_EXPORTS in page.text and "sue@acorn.example" in page.text
    with site.services.database.open(system(site.acorn)) as db:
        mine = db.scalar(select(Membership.id).where(Membership.email == "sue@acorn.example"))
        asked = db.scalars(select(exports.CustomerExport.id).where(exports.CustomerExport.requested_by == mine)).all()
    assert len(asked) == 2 and sue.get(site.at(f"/sales/customers/exports/{asked[0]}"))
    site.sam.get(site.at("/sales/customers"))
    site.sam.submit("/exports")


def test_two_owners_who_remove_each_other_leave_one(site: Site) -> None:
    """Of two parallel removals, one waits for the other and is then refused."""
    with site.services.database.open(everything("a business of two"), write=True) as db:
        two = [
            Membership(
                business_id=site.birch,
                id=f"mem_{n}",
                identity_id=f"idn_{n}",
                email=f"{n}@birch.example",
                email_key=f"{n}@birch.example",
                role="owner",
                created_at=clock.wall(),
            )
            for n in ("one", "two")
        ]
        db.add_all(two)
    barrier, answers = threading.Barrier(2), []

    def remove(me: str, other: str) -> None:
        barrier.wait()
        try:
            with site.services.database.open(staff(site.birch, me), write=True) as db:
                memberships.remove(db, other)
            answers.append("removed")
        except Conflict:
            answers.append("refused")

    threads = [threading.Thread(target=remove, args=pair) for pair in (("mem_one", "mem_two"), ("mem_two", "mem_one"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == ["refused", "removed"]
    assert len(site.rows(Membership, Membership.business_id == site.birch, Membership.removed_at.is_(None))) == 1


# --- activity


def test_activity_names_authors_and_can_be_filtered(site: Site) -> None:
    sam = site.sam
    sam.get(site.at("/sales/customers/new"))
    sam.submit("/sales/customers", name="Gus Grove", email="gus@grove.example")
    gus = site.row(Customer, Customer.name == "Gus Grove").customer_id
    page = sam.get(site.at(f"/activity?customer={gus}"))
    assert "Filtered by customer Gus Grove" in page.text and len(page.soup.select("tbody tr")) == 1
    assert "The customer was added." in page.text and "sam@acorn.example" in page.text
    assert "Gus Grove" not in sam.get(site.at("/activity?actor=system&kind=customers")).text
    write_down(site, *((f"Paula Page{n}", f"paula{n}@page.example") for n in range(55)))
    seen, page = 0, sam.get(site.at("/activity?kind=customers"))
    while True:
        seen += len(page.soup.select("tbody tr"))
        older = page.soup.find("a", rel="next")
        if not older:
            break
        page = sam.get(older["href"])
    starts = ("customer.", "customers.", "profile.", "portal_session.", "portal_link.", "payment_method.")
    assert seen == len([entry for entry in site.rows(Event, Event.business_id == site.acorn) if entry.type.startswith(starts)]) > 50


def test_events_cannot_be_changed(site: Site) -> None:
    """The database refuses changes from every role."""
    for statement in (update(Event).values(type="nothing.happened"), delete(Event)):
        with pytest.raises((DBAPIError, PortalError)), site.services.database.open(everything("try to rewrite history"), write=True) as db:
            db.execute(statement, execution_options={"synchronize_session": False})
    with pytest.raises(DBAPIError), site.services.database.open(everything("try to change one event"), write=True) as db:
        db.scalars(select(Event).limit(1)).one().actor_id = "somebody else"


def test_staff_see_export_authors_declines_and_provenance(site: Site) -> None:
    [customer] = write_down(site, ("Edna Quill", "edna@quill.example"))
    with site.services.database.open(system(site.acorn), write=True) as db:
        row = db.scalars(select(Customer).where(Customer.customer_id == customer)).one()
        recognition.record_decline(row)
        db.add(
            SourceId(
                business_id=site.acorn,
                id=source_key("oldbilling", "customer", "c1"),
                account_id="oldbilling",
                kind="customer",
                reference="c1",
                row_id=customer,
                digest="x",
                loaded_at=clock.wall(),
            )
        )
    text = site.sam.get(site.at(f"/sales/customers/{customer}")).text
    assert "Declined on" in text and "oldbilling" in text and "last imported" in text
    with site.services.database.open(system(site.acorn), write=True) as db:
        mine = db.scalars(select(Membership).where(Membership.email == "sam@acorn.example")).one().id
        job = exports.request_export(db, site.acorn, "quill", by=mine).id
    assert "Requested by sam@acorn.example" in site.sam.get(site.at(f"/sales/customers/exports/{job}")).text


def test_staff_block_and_unblock_a_customer(site: Site) -> None:
    [wanda] = write_down(site, ("Wanda Block", "wanda@oak.example"))
    url = site.at(f"/sales/customers/{wanda}")
    site.sam.get(url)
    assert "cannot buy anything" in site.sam.submit("/block").text
    assert site.row(Customer, Customer.customer_id == wanda).blocked_at is not None
    assert "Blocked since" in site.sam.get(url).text
    site.sam.submit("/block/removal")
    assert site.row(Customer, Customer.customer_id == wanda).blocked_at is None
    told = [entry.type for entry in site.rows(Event, Event.noun_id == wanda)]
    assert told.count("customer.blocked") == told.count("customer.unblocked") == 1
