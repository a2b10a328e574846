"""The console's people: customers found, written down, exported and invited; the team, which always has an owner; looks at the portal."""

from __future__ import annotations

import csv
import io
import re
import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import delete, select, update
from sqlalchemy.exc import DBAPIError

from auth.models import Budget, DynamicLink
from billing.commands.customers import create_customer, update_customer
from billing.finding import CustomerWord, asked, folded
from billing.licences import LicenseKey
from billing.parties import Business, Customer
from core import clock
from core.errors import Conflict, PortalError, ScopeError
from core.outbox import Event
from core.scope import everything, staff, system
from portal.deeds import SENTENCES, STAFF_ONLY, UNTOLD
from portal.keys import masked
from tenants import exports, joining
from tenants.team import Membership
from tenants.views import CustomerView
from tests.house.test_statements import counted
from tests.pages.staffed import Shop
from tests.visitor import Visitor


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


def signed_in(shop: Shop, email: str) -> Visitor:
    """Once more, in another browser: the budget of letters begins anew, as if half a minute had passed."""
    with shop.house.database.open(everything("half a minute passes"), write=True) as db:
        db.execute(delete(Budget))
    return shop.customer(email)


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
    rows = list(csv.reader(io.StringIO(answer.get_data(as_text=True).removeprefix("\ufeff"))))
    assert rows[0][:3] == ["customer_id", "name", "email"] and len(rows) == 21
    assert {row[1] for row in rows} >= {f"'{name}" for name in evil}
    assert exports.plain("\tx") == "'\tx" and exports.plain("\rx") == "'\rx" and exports.plain(None) == "" and exports.plain("a=b") == "a=b"
    export_id = page.soup.select_one("a[download]")["href"].split("/")[-2]
    with shop.house.database.open(system(shop.acorn)) as db:
        assert db.scalars(select(exports.ExportPart.id).where(exports.ExportPart.export_id == export_id)).all() == [
            f"{export_id}:{n:06d}" for n in range(3)]


# --- share invite


def test_a_dynamic_link_is_shown_once_opens_one_customer_once_and_can_be_taken_back(shop: Shop) -> None:
    sam, ada = shop.sam, shop.ada_at_acorn
    url = shop.at(f"/sales/customers/{ada.customer_id}/invite")
    page = sam.get(url)
    static = page.soup.select_one("#static-link")["value"]
    assert static == f"http://localhost/login/{shop.acorn}" and not page.soup.select_one("#dynamic-link")
    page = sam.submit("/invite", how="show", return_url="javascript:alert(1)", expect=422)
    assert "https address" in page.text
    page = sam.submit("/invite", how="show", return_url="https://app.acorn.example/account")
    link = page.soup.select_one("#dynamic-link")["value"]
    assert page.response.headers["Cache-Control"] == "no-store"
    assert link not in sam.get(url).body.decode()  # never again
    with shop.house.database.open(everything("what is kept of it")) as db:
        assert not [one for one in db.scalars(select(DynamicLink)) if link.rsplit("/", 1)[1] in one.token_hash]
    stranger = Visitor(shop.app)
    stranger.get(link)
    stranger.submit("/session/")
    page = stranger.get(f"/business/{shop.acorn}/")
    assert "Acorn Team" in page.text and "https://app.acorn.example/account" in page.body.decode()
    assert stranger.get("/", follow=False, expect=303).location.startswith("/login")
    again = Visitor(shop.app)
    again.get(link, expect=410)
    sam.get(url)
    page = sam.submit("/invite", how="show")
    second = page.soup.select_one("#dynamic-link")["value"]
    sam.submit("/revocation")
    again.get(second, expect=410)
    rows = sam.get(url).text
    assert "taken back" in rows and "used " in rows and "sam@acorn.example" in rows


def test_an_invite_by_letter_and_the_static_link_let_the_customer_in(shop: Shop) -> None:
    shop.sam.get(shop.at(f"/sales/customers/{shop.ada_at_acorn.customer_id}/invite"))
    shop.sam.submit("/invite", how="mail")
    letter = shop.sam.letters("ada@marlow.example")[-1]
    ada = Visitor(shop.app)
    ada.open_link(letter.text, "/session/")
    assert "Acorn Team" in ada.get(f"/business/{shop.acorn}/").text
    by_static = Visitor(shop.app)
    by_static.sign_in(shop.ADA, door=f"/login/{shop.acorn}")
    assert "Acorn Team" in by_static.get(f"/business/{shop.acorn}/").text


# --- the team


def test_an_invitation_is_for_the_address_and_nobody_else(shop: Shop) -> None:
    sam = shop.sam
    sam.get(shop.at("/team"))
    page = sam.submit("/invitations", email="pia@acorn.example", role="developer")
    assert "pia@acorn.example" in page.text
    letter = sam.letters("pia@acorn.example")[-1]
    assert "/console" in letter.text and "Developer" in letter.text and "sam@acorn.example" in letter.text
    with shop.house.database.open(everything("the invitation's id")) as db:
        one = db.scalar(select(joining.Invitation.id).where(joining.Invitation.email_key == "pia@acorn.example"))
    ada = signed_in(shop, shop.ADA)
    ada.get("/console")
    ada.post(f"/console/invitations/{one}/acceptance", expect=404)
    pia = Visitor(shop.app)
    pia.sign_in("pia@acorn.example")  # she bought nothing, and still gets a letter
    pia.get(shop.at("/team"), expect=404)
    assert "Acorn Notes asks pia@acorn.example" in pia.get("/console").text
    pia.submit("acceptance")
    pia.get(shop.at("/team"))
    pia.get("/console")
    pia.post(f"/console/invitations/{one}/acceptance", expect=404)  # used
    assert any("joined the team" in one.text for one in sam.letters("sam@acorn.example"))


def test_a_role_changes_and_ends_with_the_next_click(shop: Shop) -> None:
    rob = shop.staff("rob@acorn.example", "support")
    rob.get(shop.at("/sales/customers/new"))
    row = shop.row(Membership, Membership.email == "rob@acorn.example")
    shop.sam.get(shop.at("/team"))
    shop.save(f"/team/{row.id}/role", role="read_only")
    rob.get(shop.at("/sales/customers/new"), expect=403)
    shop.sam.get(shop.at("/team"))
    shop.save(f"/team/{row.id}/removal")
    rob.get(shop.at("/team"), expect=404)
    assert "rob@acorn.example" not in shop.sam.get(shop.at("/team")).text
    assert "rob@acorn.example was removed" in shop.sam.get(shop.at("/activity?kind=business")).text  # history keeps the name


def test_the_last_owner_stays(shop: Shop) -> None:
    row = shop.row(Membership, Membership.email == shop.SAM)
    shop.sam.get(shop.at("/team"))
    page = shop.save(f"/team/{row.id}/removal")
    assert "Somebody has to be the owner" in page.text
    page = shop.save(f"/team/{row.id}/role", role="support")
    assert "Somebody has to be the owner" in page.text and shop.row(Membership, Membership.id == row.id).role == "owner"


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


def test_a_person_begins_a_business_and_owns_it(shop: Shop) -> None:
    eve = signed_in(shop, shop.ADA)
    eve.get("/console/new")
    page = eve.submit("/console/new", expect=422)
    assert len(page.soup.select("p.err")) == 4
    page = eve.submit("/console/new", name="Larch Prints", currency="CHF", country="CH", zone="Europe/Zurich")
    assert page.h1 == "Customers" and "Larch Prints" in page.text and "No customer yet" in page.text
    made = shop.row(Business, Business.name == "Larch Prints")
    assert (made.currency, made.zone, made.address) == ("CHF", "Europe/Zurich", {"country": "CH"})
    assert shop.row(Membership, Membership.business_id == made.business_id).role == "owner"
    shop.sam.get(f"/console/{made.business_id}/team", expect=404)


def test_the_shell_names_an_owner(shop: Shop) -> None:
    import json

    done = shop.app.test_cli_runner().invoke(args=["business", "new", "--name", "Elm", "--currency", "EUR", "--owner", "eli@elm.example"])
    said = json.loads(done.output.splitlines()[-1])
    assert said["console"] == f"http://localhost/console/{said['business_id']}"
    eli = Visitor(shop.app)
    eli.sign_in("eli@elm.example")
    eli.get("/console")
    eli.submit("acceptance")
    assert "Invite somebody" in eli.get(f"/console/{said['business_id']}/team").text


# --- looking as the customer


def look(shop: Shop, who: Visitor, customer_id: str) -> str:
    """Begin a look. Returns the address of its door."""
    who.get(shop.at(f"/sales/customers/{customer_id}/view"))
    who.submit("/view", reason="short"[:3], expect=422)
    who.submit("/view", reason="You wrote that an invoice is missing.")
    return who.path


def test_staff_see_what_the_customer_sees_and_can_change_nothing(shop: Shop) -> None:
    helen, ada = shop.staff("helen@acorn.example", "support"), shop.ada_at_acorn
    door = look(shop, helen, ada.customer_id)
    key = shop.row(LicenseKey, LicenseKey.customer_id == ada.customer_id).key
    before = len(shop.rows(Event))
    shown = ["", "subscriptions", f"subscriptions/{ada.subscription_id}", "purchases", f"purchases/{ada.purchase_id}", "billing-history",
             "payment-methods", "license-keys", "profile", "activity"]
    for path in shown:
        page = helen.get(door + path)
        assert "You see what Ada Marlow sees." in page.text, path
        assert key not in page.body.decode() and "token=" not in page.body.decode().replace("csrf_token=", ""), path
        assert "helen@acorn.example" not in page.text and "Birch" not in page.text, path
        assert not [one["href"] for one in page.soup.select("main a[href^='/']") if not one["href"].startswith(door)], path
    assert masked(key) in helen.get(door + f"purchases/{ada.purchase_id}").text
    for path in ("search?q=team", *(f"subscriptions/{ada.subscription_id}/{act}" for act in ("cancellation", "payment-method"))):
        assert "only look" in helen.get(door + path, expect=403).text, path
    token = helen.token()
    for rule in shop.app.url_map.iter_rules():
        if rule.endpoint.startswith("view_as.") and rule.methods & {"POST", "DELETE"}:
            path = re.sub(r"<(?:\w+:)?(\w+)>", lambda m: getattr(ada, m[1], "x"), rule.rule.split("/view/<view_id>/")[1])
            answer = helen.client.post(door + path, data={"csrf_token": token}, headers={**helen.headers, "Origin": "http://localhost"})
            assert answer.status_code in (403, 405), path
    assert len(shop.rows(Event)) == before
    assert helen.get("/", expect=200).h1 and "Acorn Team" not in helen.get("/").text  # her own unified page is her own
    with pytest.raises(ScopeError), shop.app.test_request_context(method="POST"):
        from core.scope import customer_of
        from core.web import db, open_for_request

        open_for_request(customer_of(shop.acorn, ada.customer_id), reads_only=True)
        db().execute(update(Customer).values(name="Taken"))


def test_a_look_ends_is_nobody_elses_and_the_customer_reads_of_it(shop: Shop) -> None:
    nora = shop.staff("nora@acorn.example", "support")
    door = look(shop, nora, shop.ada_at_acorn.customer_id)
    shop.sam.get(door, expect=404)  # another member's look
    anonymous = Visitor(shop.app)
    assert anonymous.get(door, follow=False, expect=303).location.startswith("/login")
    elsewhere = signed_in(shop, "nora@acorn.example")
    elsewhere.get(door, expect=404)  # another browser
    with shop.house.database.open(everything("half an hour later"), write=True) as db:
        db.execute(update(CustomerView).values(expires_at=clock.wall() - timedelta(seconds=1)))
    nora.get(door, expect=404)
    door = look(shop, nora, shop.ada_at_acorn.customer_id)
    nora.get(door)
    nora.submit("/end")
    nora.get(door, expect=404)
    door = look(shop, nora, shop.ada_at_acorn.customer_id)
    with shop.house.database.open(everything("she left the team"), write=True) as db:
        db.execute(update(Membership).where(Membership.email == "nora@acorn.example").values(removed_at=clock.wall()))
    nora.get(door, expect=404)
    ada = signed_in(shop, shop.ADA)
    ada.get(door, expect=404)  # the customer herself has her own door
    for path in ("/activity", f"/business/{shop.acorn}/activity"):
        page = ada.get(path)
        assert "Reason: You wrote that an invoice is missing." in page.text and "nora@" not in page.text, path
    assert "Birch" in ada.get("/activity").text and "Birch" not in ada.get(f"/business/{shop.acorn}/activity").text


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


def test_every_event_of_a_business_has_words(shop: Shop) -> None:
    """An event that docs/events.md names and that concerns a business is told in a sentence, not by its type."""
    from pathlib import Path

    documented = dict(re.findall(r"^\| `([a-z_]+\.[a-z_]+)` \|(.*)$", Path("docs/events.md").read_text(encoding="utf-8"), re.MULTILINE))
    inner = {one for one in documented if one.startswith(("auth.", "gateway."))} | UNTOLD
    assert len(documented) > 80 and sorted(set(documented) - inner - set(SENTENCES)) == []
    assert sorted(set(SENTENCES) - set(documented)) == [] and set(SENTENCES) > STAFF_ONLY
    said = {type: set(re.findall(r"%\((\w+)\)s", str(words))) - {"amount", "card", "day"} for type, words in SENTENCES.items()}
    assert {type: names for type, names in said.items() if not all(f"`{name}`" in documented[type] for name in names)} == {}


def test_a_secondary_address_opens_what_it_was_invited_to_and_no_more(shop: Shop) -> None:
    """The weakest mailbox of a person is not the way to everything they work on (safety 2.2)."""
    from auth.sessions import Visit
    from tenants.team import memberships

    at = clock.wall()
    with shop.house.database.open(everything("one person with two addresses"), write=True) as db:
        db.add(Membership(business_id=shop.birch, id="mem_kim", identity_id="idn_kim", email="kim@a.example", email_key="kim@a.example",
                          role="owner", created_at=at))
        db.add(Membership(business_id=shop.acorn, id="mem_kim", identity_id="idn_kim", email="kim@b.example", email_key="kim@b.example",
                          role="support", created_at=at))
    emails = (("kim@a.example", "kim@a.example", True), ("kim@b.example", "kim@b.example", False))

    def works_at(*proved: str, identity: str | None = "idn_kim") -> set[str]:
        visit = Visit("ses_kim", identity, at, at, addresses=proved, emails=emails)
        return {one.business_id for one in memberships(shop.house.database, visit)}

    assert works_at("kim@a.example", "kim@b.example") == {shop.acorn, shop.birch}
    assert works_at("kim@b.example") == {shop.acorn} and works_at() == set() and works_at("kim@a.example", identity=None) == set()
