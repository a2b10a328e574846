"""Imports of a file into a business. Errors are named by line and nothing is written. Valid files are written once, in whole batches."""

from __future__ import annotations

import csv
import gzip
import json
import re
import tracemalloc
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import func, select
from sqlalchemy.orm import undefer

from billing import imports
from billing.customers.businesses import create_business
from billing.customers.customers import create_customer
from billing.model.catalogue import Product
from billing.model.imported_records import SourceId
from billing.model.invoices import Invoice
from billing.model.parties import Customer, CustomerTotal, SpendMonth
from billing.model.payments import Payment, PaymentMethod, Refund
from billing.model.provenance import Origin
from billing.model.subscriptions import Subscription
from billing.renewals import renew as renewing
from billing.subscriptions.cancel import cancel_at_period_end
from core import clock, mailbox
from core.errors import Conflict, Invalid
from core.outbox import Outbox
from core.scope import everything, system
from core.services import Services
from core.settings import Settings
from tenants.imports import import_file
from tenants.imports.import_file import check, write
from tenants.imports.shapes import record
from tests.visitor import Visitor

PRICE = {"type": "recurring_price", "currency": "EUR", "price": 2417, "payment_frequency_count": 1, "payment_frequency_interval": "Month"}
PRODUCT = {"type": "product", "data": {"product_id": "pdt_1", "name": "Acorn Team", "price": PRICE}}
MIRROR = Origin("acc_mirror", "elsewhere", True)
BUYER = {"type": "customer", "data": {"customer_id": "cus_1", "email": "Ada@Marlow.example", "name": "Ada Marlow"}}
JANUARY = "2026-01-31T10:00:00Z"


def subscription(**more: Any) -> dict[str, Any]:
    return {
        "type": "subscription",
        "data": {
            "subscription_id": "sub_1",
            "customer": {"customer_id": "cus_1"},
            "product_id": "pdt_1",
            "status": "active",
            "created_at": JANUARY,
            "next_billing_date": (clock.now() + timedelta(days=9)).isoformat(),
            **more,
        },
    }


def payment(id: str = "pay_1", **more: Any) -> dict[str, Any]:
    return {
        "type": "payment",
        "data": {
            "payment_id": id,
            "customer": {"customer_id": "cus_1"},
            "subscription_id": "sub_1",
            "total_amount": 2876,
            "tax": 459,
            "currency": "EUR",
            "created_at": JANUARY,
            "card_last_four": "4242",
            "card_network": "visa",
            **more,
        },
    }


def refund(amount: int, id: str = "ref_1", **more: Any) -> dict[str, Any]:
    told = {"refund_id": id, "payment_id": "pay_1", "amount": amount, "created_at": "2026-02-02T10:00:00Z"}
    return {"type": "refund", "data": told | more}


@pytest.fixture(scope="module")
def app(sqlite: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flask]:
    from wsgi import create_app

    urls, drop = sqlite.fresh()
    made = create_app(Settings(data_dir=tmp_path_factory.mktemp("import"), base_url="http://localhost", **urls))
    made.testing = False
    yield made
    made.extensions["portal"].database.dispose()
    drop()


@pytest.fixture
def services(app: Flask) -> Services:
    return app.extensions["portal"]  # type: ignore[no-any-return]


@pytest.fixture
def acorn(services: Services) -> str:
    """A separate business for this test, because ids of another test belong to another business."""
    with services.database.open(everything("the rows of the test before"), write=True) as db:
        return create_business(db, name="Acorn Notes", currency="EUR", zone="Europe/London").business_id


def load(services: Services, business_id: str, path: Path, *lines: Any) -> Any:
    said = "\n".join(json.dumps(line) if isinstance(line, dict) else line for line in lines) + "\n"
    path.write_bytes(gzip.compress(said.encode()) if path.suffix == ".gz" else said.encode())
    return write(services.database, services.settings, business_id, "import", path, check(services.database, business_id, path))


def count(services: Services, business_id: str, model: Any) -> int:
    with services.database.open(system(business_id)) as db:
        return db.scalar(select(func.count()).select_from(model)) or 0


def mine(*lines: dict[str, Any]) -> list[str]:
    """Return the lines with ids unique to this test, because an id belongs to one business."""
    mine.n += 1  # type: ignore[attr-defined]
    said = "\n".join(json.dumps(line) for line in lines)
    for kind in ("pdt", "cus", "sub", "pay", "ref", "lic", "pm"):
        said = said.replace(f'"{kind}_', f'"{kind}_{mine.n}x')  # type: ignore[attr-defined]
    return said.split("\n")


mine.n = 0  # type: ignore[attr-defined]


def test_imported_records_exist_and_no_email_is_sent(services: Services, acorn: str, tmp_path: Path, app: Flask) -> None:
    key = {
        "type": "license_key",
        "data": {"id": "lic_1", "customer_id": "cus_1", "product_id": "pdt_1", "key": f"K-{acorn}", "subscription_id": "sub_1"},
    }
    lines = mine(refund(876), payment(payment_method_id="pm_1"), key, subscription(), BUYER, PRODUCT)  # the wrong way round
    counts = load(services, acorn, tmp_path / "a.jsonl.gz", *lines)
    assert (counts.new, counts.same) == (6, 0)
    with services.database.open(system(acorn)) as db:
        item, paid = db.scalar(select(Subscription)), db.scalar(select(Payment))
        total, months = db.scalar(select(CustomerTotal)), db.scalars(select(SpendMonth).order_by(SpendMonth.month)).all()
        assert (item.collected_by, item.unit_minor, item.interval, item.customer_id) == ("import", 2417, "Month", paid.customer_id)
        assert (paid.refunded_minor, paid.is_open, paid.gateway) == (876, False, "import")
        assert (total.paid_minor, total.refunded_minor) == (2876, 876)
        assert [(row.month, row.paid_minor, row.refunded_minor) for row in months] == [("2026-01", 2876, 0), ("2026-02", 0, 876)]
        assert db.scalar(select(PaymentMethod.held_by)) == "import"
    with services.database.open(everything("what an import sends")) as db:
        assert not db.scalars(select(Outbox).where(Outbox.business_id == acorn, Outbox.type != "business.created")).all()
    ada = Visitor(app)
    ada.sign_in("ada@marlow.example")
    assert "Acorn Team" in ada.get("/").text and "To change it, contact" in ada.get(f"/subscriptions/{item.id}").text
    assert ada.get(f"/invoices/{paid.invoice_id}.pdf").body.startswith(b"%PDF")
    assert "19%" in ada.get(f"/invoices/{paid.invoice_id}").text.replace("\u00a0", "").replace(" ", "")
    with pytest.raises(Conflict), services.database.open(system(acorn), write=True) as db:
        cancel_at_period_end(db, item.id)  # a file is no system that could be asked


def test_a_company_is_imported_with_its_customer(services: Services, acorn: str, tmp_path: Path) -> None:
    company = {"type": "customer", "data": {**BUYER["data"], "business_name": "Marlow GmbH", "tax_id": "DE136695976"}}
    load(
        services,
        acorn,
        tmp_path / "in.jsonl",
        *mine(
            PRODUCT,
            company,
            subscription(customer_business_name="Plan AG", tax_id="DE811569869"),
            payment(),
            payment("pay_2", subscription_id=None),
        ),
    )
    with services.database.open(system(acorn)) as db:
        row = db.scalars(select(Customer)).one()
        buyers = [
            invoice.snapshot["buyer"] for invoice in db.scalars(select(Invoice).options(undefer(Invoice.snapshot)).order_by(Invoice.number))
        ]
    assert (row.business_name, row.tax_id) == ("Marlow GmbH", "DE136695976")
    assert [(buyer["business_name"], buyer["tax_id"]) for buyer in buyers] == [("Plan AG", "DE811569869"), ("Marlow GmbH", "DE136695976")]
    with pytest.raises(Invalid) as refused:
        record("customer", {**company["data"], "tax_id": None})
    assert set(refused.value.fields) == {"tax_id"}


def test_importing_a_file_twice_writes_it_once(services: Services, acorn: str, tmp_path: Path) -> None:
    lines = mine(PRODUCT, BUYER, subscription(), payment(), refund(100))
    load(services, acorn, tmp_path / "a.jsonl", *lines)
    counts = load(services, acorn, tmp_path / "a.jsonl", *lines)
    assert (counts.new, counts.same) == (0, 5)
    with services.database.open(system(acorn)) as db:
        assert db.scalar(select(CustomerTotal.paid_minor)) == 2876 and db.scalar(select(CustomerTotal.refunded_minor)) == 100
        assert sorted(db.scalars(select(SourceId.account_id).distinct())) == ["import"]


@pytest.mark.parametrize(("line", "says"), [
    ("{", "line: The line is not valid JSON"),
    ('{"type": "customer", "data": {"customer_id": "cus_2", "email": "a@b.example", "name": "X", "metadata": {"n": 1e999}}}',
     "data.metadata.n: This number is out of range"),
    ('{"type": "customer", "data": {"customer_id": "cus_2", "email": "a@b.example", "name": "X\\ud800"}}', "data: A lone surrogate"),
    ('{"type": "planet", "data": {}}', "type: 'planet' is not one of"),
    ({"type": "customer", "data": {"customer_id": "cus_2", "email": "nobody", "name": "X"}}, "email: This is not a valid email address"),
    ({"type": "customer", "data": {"customer_id": "cus_2", "name": "X"}}, "email: Field required"),
    ({"type": "customer", "data": {"customer_id": "../2", "email": "a@b.example", "name": "X"}}, "customer_id: String should match"),
    (BUYER, "id: line 2 already has this value"),
    (payment(subscription_id="sub_9"), "subscription_id: subscription sub_"),
    (payment(total_amount=-5), "total_amount: Input should be greater"),
    (payment(total_amount=12.5), "total_amount:"),
    (payment(currency="XYZ"), "currency:"),
    (subscription(subscription_id="sub_3", product_id="pdt_none"), "product_id: product pdt_"),
    (subscription(subscription_id="sub_3", collected_by="us"), "payment_method_id: collected_by: us requires"),
    ({"type": "product", "data": {"product_id": "pdt_2", "name": "P", "price": {"type": "free", "currency": "EUR"}}}, "price.type:"),
])  # fmt: skip
def test_a_mistake_is_named_by_line_and_field_and_nothing_is_written(
    services: Services, acorn: str, tmp_path: Path, line: Any, says: str
) -> None:
    good = mine(PRODUCT, BUYER, subscription(), line if isinstance(line, dict) else PRODUCT)
    lines = good if isinstance(line, dict) else [*good[:3], line]
    with pytest.raises(Invalid) as wrong:
        load(services, acorn, tmp_path / "a.jsonl", *lines)
    assert list(wrong.value.fields) == ["line 4"] and says in wrong.value.fields["line 4"], wrong.value.fields
    assert count(services, acorn, Customer) == 0


def test_money_and_owners_that_do_not_fit_are_refused(services: Services, acorn: str, tmp_path: Path) -> None:
    ben = {"type": "customer", "data": {"customer_id": "cus_2", "email": "ben@hill.example", "name": "Ben Hill"}}
    for extra, says in (
        ([refund(2000), refund(877, "ref_2")], "refunds of 2877 exceed the payment of 2876"),
        ([refund(10, currency="USD")], "the payment was made in EUR"),
        ([ben, payment("pay_2", customer={"customer_id": "cus_2"})], "belongs to another customer"),
    ):
        with pytest.raises(Invalid) as wrong:
            load(services, acorn, tmp_path / "a.jsonl", *mine(PRODUCT, BUYER, subscription(), payment(), *extra))
        assert any(says in why for why in wrong.value.fields.values()), wrong.value.fields
    assert count(services, acorn, Payment) == 0


def test_the_same_file_in_two_businesses_makes_rows_of_different_ids(services: Services, acorn: str, tmp_path: Path) -> None:
    """Imported rows get new ids, so an id in a file opens and discloses nothing of another business."""
    lines = mine(PRODUCT, BUYER, subscription(), payment(invoice_id="INV-0007", payment_method_id="pm_1"), refund(876))
    with services.database.open(everything("a second business"), write=True) as db:
        other = create_business(db, name="Birch Hosting", currency="EUR").business_id
    for business_id in (acorn, other):
        assert load(services, business_id, tmp_path / "a.jsonl", *lines).new == 5
    told = [json.loads(line)["data"] for line in lines]
    theirs = {
        item[key] for item in told for key in ("product_id", "customer_id", "subscription_id", "payment_id", "refund_id") if key in item
    }
    with services.database.open(everything("ids of two businesses")) as db:
        for model in (Product, Subscription, Payment, Refund, Invoice, PaymentMethod):
            ids = list(db.scalars(select(model.id).where(model.business_id.in_((acorn, other)))))
            assert len(ids) == len(set(ids)) == 2 and not theirs & set(ids), model
        assert set(db.scalars(select(Invoice.number).where(Invoice.business_id.in_((acorn, other))))) == {"INV-0007"}


def test_a_batch_is_written_whole_or_not_at_all(services: Services, acorn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The third batch fails. The first two stay, and the same command writes the rest."""
    people = [{"customer_id": f"cus_b{n}", "email": f"b{n}@people.example", "name": f"B {n}"} for n in range(40)]
    lines, path = mine(*({"type": "customer", "data": identity} for identity in people)), tmp_path / "a.jsonl"
    monkeypatch.setattr(import_file, "BATCH", 10)
    real, calls = import_file.load, []

    def breaks(db: Any, source: str, records: Any, **more: Any) -> Any:
        counts = real(db, source, records, **more)
        calls.append(len(records))
        if len(calls) == 3:
            raise OSError("the disk is full")  # after its rows were sent, before they were committed
        return counts

    monkeypatch.setattr(import_file, "load", breaks)
    with pytest.raises(OSError, match="disk"):
        load(services, acorn, path, *lines)
    assert count(services, acorn, Customer) == 20 == count(services, acorn, SourceId)
    counts = load(services, acorn, path, *lines)
    assert (counts.new, counts.same) == (20, 20) and count(services, acorn, Customer) == 40


def test_subscriptions_with_a_method_of_our_gateway_are_renewed_here(services: Services, acorn: str, tmp_path: Path) -> None:
    """A method with its reference is imported. The subscription renews here, on the 31st where the month has one."""
    method = {
        "type": "payment_method",
        "data": {
            "payment_method_id": "pm_1",
            "customer_id": "cus_1",
            "reference": f"ref of {acorn}",
            "card": {"last4_digits": "4242", "card_network": "visa"},
        },
    }
    lines = mine(PRODUCT, BUYER, method, subscription(collected_by="us", payment_method_id="pm_1"))
    load(services, acorn, tmp_path / "a.jsonl", *lines)
    with services.database.open(system(acorn)) as db:
        item = db.scalar(select(Subscription))
    assert item.collected_by == "us" and item.payment_method_id
    clock.turn(timedelta(days=10))
    assert renewing.run_due(services.processor) == 1


def test_the_import_command_reports_its_result(services: Services, acorn: str, tmp_path: Path, app: Flask) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(mine(PRODUCT, BUYER)) + "\n{oops\n", encoding="utf-8")
    runner = app.test_cli_runner()
    failed = runner.invoke(args=["import", str(path), "--business", acorn])
    assert failed.exit_code == 1 and "line 3: line: The line is not valid JSON" in failed.output and "Nothing was written" in failed.output
    path.write_text("\n".join(mine(PRODUCT, BUYER)) + "\n", encoding="utf-8")
    done = runner.invoke(args=["import", str(path), "--business", acorn])
    assert done.exit_code == 0 and json.loads(done.stdout) == {"lines": 2, "new": 2, "same": 0}
    assert runner.invoke(args=["import", str(path), "--business", "bus_none"]).exit_code == 1


def test_the_import_reports_the_new_ids(services: Services, acorn: str, tmp_path: Path, app: Flask) -> None:
    lines = mine(PRODUCT, BUYER, payment(subscription_id=None))
    load(services, acorn, tmp_path / "a.jsonl", *lines)
    done = app.test_cli_runner().invoke(args=["references", "--business", acorn])
    told = list(csv.DictReader(done.stdout.splitlines()))
    assert done.stdout.startswith('"type","reference","id"'), "every field is quoted: ids come from strangers"
    assert {(item["type"], item["reference"]) for item in told} == {
        ("product", json.loads(lines[0])["data"]["product_id"]),
        ("customer", json.loads(lines[1])["data"]["customer_id"]),
        ("payment", json.loads(lines[2])["data"]["payment_id"]),
    }
    with services.database.open(system(acorn)) as db:
        assert db.scalars(select(Customer.customer_id)).one() == next(item["id"] for item in told if item["type"] == "customer")
    assert app.test_cli_runner().invoke(args=["references", "--business", acorn, "--source", "dodo"]).exit_code == 1


def test_memory_does_not_grow_with_the_file(services: Services, acorn: str, tmp_path: Path) -> None:
    def peak(lines: int) -> int:
        path = tmp_path / f"{lines}.jsonl"
        with path.open("w", encoding="utf-8") as out:
            for n in range(lines):
                out.write(
                    json.dumps(
                        {"type": "customer", "data": {"customer_id": f"cus_m{n}", "email": f"m{n}@people.example", "name": f"M {n}"}}
                    )
                    + "\n"
                )
        tracemalloc.start()
        check(services.database, acorn, path)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    peak(1100)  # what is imported and cached once
    assert peak(3100) - peak(1100) < 2000 * 200  # bytes: a line that is kept takes three times as much


def test_a_changed_address_is_notified_to_the_old_one(services: Services, acorn: str) -> None:
    """An import sends no other email. The new address opens the rows from now on."""
    for email, told in (("Ada@Marlow.example", []), ("ada@MARLOW.example", []), ("sam@void.example", ["ada@marlow.example"])):
        with services.database.open(system(acorn), write=True) as db:
            told_there = record("customer", {"customer_id": "cus_moves", "email": email, "name": "Ada"})
            imports.load(db, MIRROR, [told_there], renew=True)
        with services.database.open(everything("what a loading sends")) as db:
            heard = db.scalars(select(Outbox).where(Outbox.business_id == acorn, Outbox.type != "business.created"))
            assert [item.data["old"] for item in heard] == told
    services.worker.drain()
    assert [
        recent_email.subject
        for recent_email in mailbox.recent_emails(services.database, "ada@marlow.example")
        if "address" in recent_email.subject
    ]


def test_an_import_leaves_local_records_unchanged(services: Services, acorn: str) -> None:
    """An id in a file or account that equals a local id changes no local row."""
    with services.database.open(system(acorn), write=True) as db:
        ours = create_customer(db, acorn, email="ben@hill.example", name="Ben Hill").customer_id
        told = record("customer", {"customer_id": ours, "email": "mallory@void.example", "name": "Mallory"})
        counts = imports.load(db, Origin.of_file("import"), [told], renew=True)
        assert (counts.new, counts.same) == (0, 1), "a file may name what is here"
        assert imports.load(db, MIRROR, [told], renew=True).new == 1, "an account names its own rows only"
        row = db.scalars(select(Customer).where(Customer.customer_id == ours)).one()
        assert (row.name, row.email_key, row.account_id) == ("Ben Hill", "ben@hill.example", None)


def test_byte_order_marks_and_blank_lines_are_accepted(services: Services, acorn: str, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + "\n\r\n".join(mine(PRODUCT, BUYER)).encode() + b"\r\n\n")
    assert write(services.database, services.settings, acorn, "import", path, check(services.database, acorn, path)).new == 2


@pytest.mark.parametrize("number", ["RE-2025/0001", "2025 / 17", "№ 5", "R#1.2_3"])
def test_real_world_invoice_numbers_are_accepted(services: Services, acorn: str, tmp_path: Path, app: Flask, number: str) -> None:
    email = f"{len(number)}@numbers.example"
    buyer = {"type": "customer", "data": {**BUYER["data"], "email": email}}
    load(services, acorn, tmp_path / "a.jsonl", *mine(PRODUCT, buyer, payment(subscription_id=None, invoice_id=number)))
    with services.database.open(system(acorn)) as db:
        row = db.scalars(select(Invoice)).one()
    assert row.number == number and row.id.startswith("inv_")
    ada = Visitor(app)
    ada.sign_in(email)
    assert number in ada.get(f"/invoices/{row.id}").text and ada.get(f"/invoices/{row.id}.pdf").body.startswith(b"%PDF")


@pytest.mark.parametrize("number", ["", " RE-1", "RE\n1", "RE\0", "x" * 101, "\u202e1"])
def test_an_invoice_number_that_cannot_be_printed_is_refused(number: str) -> None:
    with pytest.raises(Invalid) as wrong:
        record("payment", payment(invoice_id=number)["data"])
    assert "invoice_id" in wrong.value.fields


def test_a_cut_or_damaged_archive_is_named_by_line(services: Services, acorn: str, tmp_path: Path, app: Flask) -> None:
    path = tmp_path / "a.jsonl.gz"
    people = [{"customer_id": f"cus_{n}", "email": f"b{n}@people.example", "name": f"B {n}"} for n in range(2000)]
    whole = gzip.compress("\n".join(mine(*({"type": "customer", "data": identity} for identity in people))).encode())
    damaged = whole[:3000] + bytes(200) + whole[3200:]  # unfolds into nonsense first
    for content in (whole[: len(whole) // 2], whole[:-4], whole[:5], damaged):
        path.write_bytes(content)
        failed = app.test_cli_runner().invoke(args=["import", str(path), "--business", acorn])
        said = r"line \d+: (The gzip archive is truncated or damaged here|line: The line is not valid JSON|The line is not UTF-8)"
        assert failed.exit_code == 1 and re.search(said, failed.output) and isinstance(failed.exception, SystemExit), failed.output
        if content is not damaged:
            assert "The gzip archive is truncated or damaged here" in failed.output
    assert count(services, acorn, Customer) == 0


def test_a_decompression_bomb_is_refused_early(services: Services, acorn: str, tmp_path: Path) -> None:
    for content in (b"\n" * 60_000_000, (b" " * 1_000_000 + b"\n") * 500):
        path = tmp_path / "a.jsonl.gz"
        path.write_bytes(gzip.compress(content))
        with pytest.raises(Invalid) as wrong:
            check(services.database, acorn, path)
        ((line, why),) = wrong.value.fields.items()
        assert int(line.removeprefix("line ")) <= 100_001 and "empty lines" in why


def test_checked_records_can_be_written(services: Services, acorn: str, tmp_path: Path) -> None:
    """Hostile and plausible values in every field of every kind are refused by line, or written without an error."""
    from tests.harness.hostile_account import ONES, HostileAccount

    liar, kinds = HostileAccount(11, [], []), {"/product-collections": "collection"}
    liar.emails, good = ["ada@marlow.example", "ben@hill.example"], 0
    for n in range(60):
        liar.ids = liar.own = [f"{n}x{place}" for place in range(4)]
        lines = []
        for path, model, _key in ONES[:-1]:
            kind = kinds.get(path, path.strip("/").removesuffix("s"))
            lines += [{"type": kind, "data": {**liar.thing(model), "collected_by": None, "reference": None}} for _ in range(3)]
        for line in lines:  # each by itself with what it may name, so that one mistake hides no other
            path_ = tmp_path / "one.jsonl"
            path_.write_text(json.dumps(line) + "\n", encoding="utf-8")
            try:
                found = check(services.database, acorn, path_)
            except Invalid:
                continue
            good += write(services.database, services.settings, acorn, "import", path_, found).new
    assert good > 20


@pytest.mark.parametrize("line", [
    {"type": "customer", "data": {"customer_id": "cus_s", "email": "a@b.example", "name": "A", "metadata": {"a": "\ud800"}}},
    {"type": "customer", "data": {"customer_id": "cus_s", "email": "a@b.example", "name": "half \udfff"}},
    {"type": "customer", "data": {"customer_id": "cus_s", "email": "a@b.example", "name": "A", "metadata": {"a\0": 1}}},
    {"type": ["customer"], "data": {}}, {"type": "customer", "data": [1]},
    '{"type": "customer", "data": {"metadata": ' + "[" * 5000 + "]" * 5000 + "}}",
    '{"type": "customer", "data": {"customer_id": "c", "email": "a@b.example", "name": "A", "metadata": {"a": 1e999}}}',
])  # fmt: skip
def test_text_and_numbers_that_cannot_be_stored_are_refused_by_line(services: Services, acorn: str, tmp_path: Path, line: Any) -> None:
    with pytest.raises(Invalid) as wrong:
        load(services, acorn, tmp_path / "a.jsonl", line)
    assert list(wrong.value.fields) == ["line 1"]


HALF = {
    "discount_id": "dsc_1",
    "code": "HALF",
    "type": "percentage",
    "amount": 5000,
    "position": 0,
    "preserve_on_plan_change": True,
    "restricted_to": [],
    "times_used": 1,
    "metadata": {},
    "business_id": "b",
    "created_at": JANUARY,
}


def handed_over(acorn: str, **more: Any) -> list[str]:
    method = {
        "type": "payment_method",
        "data": {
            "payment_method_id": "pm_1",
            "customer_id": "cus_1",
            "reference": f"ref of {acorn}",
            "card": {"last4_digits": "4242", "card_network": "visa"},
        },
    }
    return mine(PRODUCT, BUYER, method, subscription(collected_by="us", payment_method_id="pm_1", **more))


@pytest.mark.parametrize(("discounts", "billed"), [
    ([{**HALF, "subscription_cycles": None, "cycles_remaining": None}], [1208, 1208, 1208]),
    ([{**HALF, "subscription_cycles": 12, "cycles_remaining": 2}], [1208, 1208, 2417]),
    ([{**HALF, "subscription_cycles": 12, "cycles_remaining": 0}], [2417, 2417, 2417]),
    ([{**HALF, "type": "flat", "amount": 417, "cycles_remaining": 1}], [2000, 2417, 2417]),
    ([], [2417, 2417, 2417]),
])  # fmt: skip
def test_a_running_discount_is_imported_with_its_remaining_periods(
    services: Services, acorn: str, tmp_path: Path, discounts: list[dict[str, Any]], billed: list[int]
) -> None:
    load(services, acorn, tmp_path / "a.jsonl", *handed_over(acorn, discounts=discounts))
    for days in (10, 41, 72):
        clock.turn(timedelta(days=days))
        renewing.run_due(services.processor)
        with services.database.open(system(acorn), write=True) as db:  # no card of the sandbox: as if each had been taken
            subscription = db.scalars(select(Subscription)).one()
            for paid in db.scalars(select(Payment).where(Payment.is_open)):
                paid.is_open, paid.status = False, "failed"
            if subscription.status != "active":
                subscription.status = "active"
            latest = db.scalars(select(Invoice).where(Invoice.account_id.is_(None)).order_by(Invoice.issued_at.desc()).limit(1)).one()
            if subscription.period_n < len(billed) and latest.status == "open":
                latest.status, subscription.period_n = "void", subscription.period_n + 1
                subscription.previous_billing_at, subscription.next_billing_at = (
                    subscription.next_billing_at,
                    subscription.next_billing_at + timedelta(days=31),
                )
    with services.database.open(system(acorn)) as db:
        assert list(db.scalars(select(Invoice.subtotal_minor).order_by(Invoice.issued_at))) == billed


@pytest.mark.parametrize(("more", "says"), [
    ({"discounts": [{"discount_id": "dsc_1", "discount_cycles_remaining": 3}]}, "dsc_1"),
    ({"discount_id": "dsc_7", "discount_cycles_remaining": 3}, "dsc_7"),
    ({"discount_cycles_remaining": 3}, "discount_cycles_remaining"),
    ({"discounts": [{**HALF, "subscription_cycles": 12}]}, "HALF"),
    ({"discounts": [{**HALF, "type": "buy_one_get_one"}]}, "type"),
    ({"discounts": [{**HALF, "amount": 20_000}]}, "100 %"),
])  # fmt: skip
def test_a_discount_that_cannot_be_read_is_refused_by_line_for_what_we_collect(
    services: Services, acorn: str, tmp_path: Path, more: dict[str, Any], says: str
) -> None:
    with pytest.raises(Invalid) as wrong:
        load(services, acorn, tmp_path / "a.jsonl", *handed_over(acorn, **more))
    assert list(wrong.value.fields) == ["line 4"] and "discounts" in wrong.value.fields["line 4"] and says in wrong.value.fields["line 4"]
    assert count(services, acorn, Subscription) == 0


def test_a_refund_of_a_payment_that_was_made_here_is_refused_by_line(services: Services, acorn: str, tmp_path: Path) -> None:
    load(services, acorn, tmp_path / "a.jsonl", *mine(PRODUCT, BUYER, payment(subscription_id=None)))
    with services.database.open(system(acorn), write=True) as db:
        paid = db.scalars(select(Payment)).one()
        paid.account_id, ours = None, paid.id
    with pytest.raises(Invalid) as wrong:
        load(services, acorn, tmp_path / "b.jsonl", refund(1, payment_id=ours))
    assert "Refund it in the system where it was made" in wrong.value.fields["line 1"]
