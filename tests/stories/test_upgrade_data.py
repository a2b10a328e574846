"""Release 0.1 with its demo in it, upgraded: no row is lost, waiting work is done once, and every link of its emails leads somewhere.

The data: the demo of release 0.1, where people then signed in, changed things and got every email that it knows. Tables that stayed
empty have one made-up row. To keep it small, most PDF files were left out.
"""

from __future__ import annotations

import hashlib
import lzma
import re
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import create_engine, inspect, select
from sqlalchemy.engine import Connection

from core import clock, email_log, guard, schema
from core.email_log import EmailRecord
from core.mailbox import MailboxEmail
from core.moved_paths import present_path
from core.outbox import Outbox
from core.scope import everything
from core.services import Services
from core.settings import Settings
from migrations.former_names import RENAMED_IN_0031
from tests.stories.test_upgrade import deployment_of_0_1
from tests.visitor import Visitor

DEMO = Path(__file__).resolve().parents[1] / "data/demo-0.1.sqlite3.xz"
ADA, SAM = "ada@marlow.example", "sam@acorn.example"
MADE = {"alembic_version", "email_log", "job_failures", "job_runs", "mail_servers", "migration_steps", "operator_actions"}
"""Tables that release 0.1 did not have, or whose rows are about the upgrade."""
ONE_TIME = ("/login/link/", "/session/")
"""Links that expire: after that the page offers to send a new one (410 Gone)."""


@pytest.fixture
def demo(engine: Any, tmp_path: Path) -> Settings:
    return deployment_of_0_1(engine, tmp_path, lzma.decompress(DEMO.read_bytes()))


def read(settings: Settings, look: Callable[[Connection], Any]) -> Any:
    engine = create_engine(settings.owner_url)
    try:
        with engine.connect() as connection, guard.raw_sql():
            return look(connection)
    finally:
        engine.dispose()


def counts(connection: Connection) -> dict[str, int]:
    tables = [name for name in inspect(connection).get_table_names() if name not in MADE]
    return {name: connection.exec_driver_sql(f"SELECT count(*) FROM {name}").scalar_one() for name in tables}


def documents(connection: Connection) -> dict[tuple[str, str], tuple[str, str]]:
    """The hash that is stored with each document, and the hash of its file."""
    rows = connection.exec_driver_sql("SELECT business_id, id, sha256, pdf FROM documents").all()
    return {(row[0], row[1]): (row[2], hashlib.sha256(bytes(row[3])).hexdigest()) for row in rows}


def test_no_row_of_release_0_1_is_lost(demo: Settings) -> None:
    before, papers = read(demo, counts), read(demo, documents)
    assert len(before) > 70 and all(before.values()), "every table of release 0.1 has rows"
    assert papers and all(stored == found for stored, found in papers.values())
    schema.upgrade(demo)
    after = read(demo, counts)
    expected = {RENAMED_IN_0031.get(name, name): count for name, count in before.items()}
    assert after == expected | grown(demo, before)
    assert read(demo, documents) == papers


def grown(settings: Settings, before: dict[str, int]) -> dict[str, int]:
    """Tables that have more rows on purpose: a webhook that waited as work, the sandbox account of each business, and new tables."""
    new = dict.fromkeys(
        (
            "access_tokens",
            "api_origins",
            "consents",
            "disputes",
            "method_move_files",
            "price_changes",
            "processor_calls",
            "processor_customers",
            "refund_request_messages",
            "refund_requests",
            "receipts",
            "restarts",
            "statements",
            "subscription_price_changes",
            "tax_calculations",
            "tax_id_checks",
            "tax_reports",
            "withdrawals",
        ),
        0,
    )
    accounts = dict.fromkeys(("payment_accounts", "payment_account_details"), before["businesses"])
    return {"external_webhooks": before["elsewhere_hooks"] + 1} | new | accounts


def test_stored_names_are_the_present_ones(demo: Settings) -> None:
    schema.upgrade(demo)

    def named(statement: str) -> set[str]:
        return {row[0] for row in read(demo, lambda connection: connection.exec_driver_sql(statement).all())}

    for table in ("events", "outbox"):
        types = named(f"SELECT DISTINCT type FROM {table}")
        assert {"subscription.action_refused", "reconciliation_exception.opened", "owners.notified"} <= types
        assert not [item for item in types if re.search("elsewhere|parked|told|asked", item)]
    [data] = named("SELECT CAST(data AS VARCHAR) FROM events WHERE type = 'subscription.action_unanswered' ORDER BY id LIMIT 1")
    assert '"action_id"' in data and '"act_id"' not in data
    assert "given_up" in named("SELECT state FROM outbox") and "parked" not in named("SELECT state FROM outbox")
    assert named("SELECT outcome FROM quotes") == {"delegated"}
    assert "old webhook deliveries" in (leases := named("SELECT name FROM leases")) and "sweep webhooks" not in leases
    assert [item for item in leases if item.startswith("external accounts: bus_")]
    changed = [f"{verb} events {what}" for verb, what in (("UPDATE", "SET type = 'x'"), ("DELETE FROM", ""))]
    for statement in changed:  # the history is closed again
        with pytest.raises(Exception, match="append-only"):
            read(demo, lambda connection, one=statement: connection.exec_driver_sql(one))  # type: ignore[misc]


def test_work_that_waited_is_done_once(demo: Settings, make_app: Callable[..., Flask]) -> None:
    """Of two requests that the other system refused, release 0.1 had emailed about one before its work was interrupted."""
    schema.upgrade(demo)
    services: Services = make_app(demo).extensions["portal"]
    old = {email.id for email in mailbox(services)}
    with services.database.open(everything("what waits")) as db:
        waiting = list(db.execute(select(Outbox.type, Outbox.done, Outbox.state).where(Outbox.state != "done")))
    assert sorted(item.type for item in waiting if item.state == "pending") == [
        "reconciliation_exception.opened",
        "subscription.action_refused",
        "subscription.action_refused",
    ]
    assert [item.type for item in waiting if item.state == "given_up"] == ["subscription.action_unanswered"]
    for _ in range(2):
        services.worker.drain()
        sent = [email for email in mailbox(services) if email.id not in old]
        subjects = sorted(email.subject for email in sent if "Acorn Team" not in email.subject)  # dunning continues as well
        assert len([email for email in sent if email.to == ADA and "Nightly backups" in email.subject]) == 1, subjects
        assert len([email for email in sent if email.to == SAM and "/sales/reconciliation" in email.text]) == 1, subjects


def mailbox(services: Services) -> list[MailboxEmail]:
    with services.database.open(everything("read the test mailbox")) as db:
        return list(db.scalars(select(MailboxEmail).order_by(MailboxEmail.created_at, MailboxEmail.id)))


def test_a_renamed_email_keeps_its_key(services: Services) -> None:
    """The work of an email that was sent under the former name may run once more after the upgrade."""
    for new, old in email_log.FORMER_NAMES.items():
        to, at = f"{new}@marlow.example", clock.wall()
        row = EmailRecord(id=hashlib.sha256(f"evt_1:{old}:{to}".encode()).hexdigest(), event_id="evt_1", kind="x", address_hash="x")
        row.message_id, row.state, row.created_at, row.updated_at = "m@x", email_log.SENT, at, at
        with services.database.open(everything("an email of before"), write=True) as db:
            db.add(row)
        found = email_log.begin(services.database, services.settings, f"evt_1:{new}:{to}", to)
        assert (found.state, found.message_id) == (email_log.SENT, "m@x")


def links(services: Services) -> dict[str, dict[str, set[str]]]:
    """Recipient → kind of link (its path without ids and tokens) → paths, as release 0.1 emailed them."""
    found: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for email in mailbox(services):
        for url in re.findall(r"https?://localhost(/[^\s\"'<>)]*)", f"{email.text} {email.html}"):
            found[email.to][re.sub(r"/(?=[\w.~-]*[\d_.])[\w.~-]{12,}", "/…", url.partition("?")[0])].add(url)
    return found


KINDS = {
    "/business/…/billing-history",
    "/business/…/invoices/…",
    "/business/…/payment-methods",
    "/business/…/refunds/…",
    "/business/…/subscriptions/…",
    "/business/…/subscriptions/…/payment-method",
    "/console",
    "/console/…/developers/webhooks",
    "/console/…/sales/parked",
    "/console/…/team",
    "/login",
    "/login/link/…",
    "/login/never-again/…",
    "/profile",
    "/session/…",
}
"""Every kind of link in the emails of release 0.1."""
SHARED = ("/login/{}", "/business/{}/", "/console/{}", "/console/{}/developers/elsewhere", "/console/{}/sales/parked")
"""Links that release 0.1 printed and that businesses share or keep as bookmarks."""


def test_every_link_of_release_0_1_leads_somewhere(demo: Settings, make_app: Callable[..., Flask]) -> None:
    schema.upgrade(demo)
    app = make_app(demo)
    found = links(app.extensions["portal"])
    assert {kind for kinds in found.values() for kind in kinds} == KINDS
    [business] = {url.split("/")[2] for url in found[SAM]["/console/…/sales/parked"]}
    for path in SHARED:  # Ada is a customer there, Sam is staff
        found[SAM if path.startswith("/console") else ADA][path.format("…")].add(path.format(business))
    for to, kinds in found.items():
        stranger, reader = Visitor(app), Visitor(app)
        if to in (ADA, SAM):
            reader.sign_in(to)
        for kind, urls in kinds.items():
            for url in sorted(urls)[:3]:
                for person in (stranger, reader):
                    page = person.get(url, expect=None)
                    assert page.status == 200 or (page.status == 410 and kind.startswith(ONE_TIME)), f"{to}: {url}: {page.status}"
                    assert page.soup and (page.status == 200 or page.soup.select("main form, main a")), "an expired link offers a way on"
                if (new := present_path(url)) and to in (ADA, SAM):
                    assert reader.get(url, follow=False, expect=308).location == new
    [[opt_out]] = [urls for kinds in found.values() for kind, urls in kinds.items() if kind == "/login/never-again/…"]
    nobody, opted_out = Visitor(app), read(demo, counts)["email_opt_outs"]
    nobody.get(opt_out)
    nobody.submit()
    assert nobody.path.startswith("/login/email-opt-out/") and read(demo, counts)["email_opt_outs"] == opted_out + 1


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("/console/bus_1/sales/parked", "/console/bus_1/sales/reconciliation"),
        ("/console/bus_1/sales/parked/pay_1/closing", "/console/bus_1/sales/reconciliation/pay_1/closing"),
        ("/console/bus_1/sales/parked/pay_1/question", "/console/bus_1/sales/reconciliation/pay_1/check"),
        ("/console/bus_1/developers/elsewhere", "/console/bus_1/developers/external-billing"),
        ("/console/bus_1/collections/c_1/items/i_1/place", "/console/bus_1/collections/c_1/items/i_1/position"),
        ("/login/never-again/abc", "/login/email-opt-out/abc"),
        ("/login/link/abc/again", "/login/link/abc/resend"),
        ("/session/abc/again", "/session/abc/resend"),
        ("/appearances/acceptance", "/approvals/acceptance"),
        ("/appearances/cus_1/refusal", "/approvals/cus_1/refusal"),
        ("/business/bus_1/appearance/acceptance", "/business/bus_1/approval/acceptance"),
        ("/profile/addresses/merges/mrg_1/letter", "/profile/addresses/merges/mrg_1/email"),
        ("/subscriptions", None),
        ("/login/link/abc", None),
    ],
)
def test_renamed_paths(app: Flask, old: str, new: str | None) -> None:
    assert present_path(old) == new
    if new is None:
        return
    client = app.test_client()
    for method in ("GET", "POST"):
        answer = client.open(f"{old}?a=1", method=method)
        assert (answer.status_code, answer.headers["Location"]) == (308, f"{new}?a=1"), method
        assert answer.headers["Cache-Control"] == "no-store"
    rules = app.url_map.bind("localhost")
    assert any(rules.test(new, method=method) for method in ("GET", "POST")), "the present path has a page"
