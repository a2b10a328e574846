"""A file into a business: mistakes are named by line and nothing is written; what is good is written once, in whole batches."""

from __future__ import annotations

import gzip
import json
import tracemalloc
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import func, select

from billing import renewals
from billing.commands import loading
from billing.commands.businesses import create_business
from billing.commands.cancelling import cancel_at_period_end
from billing.commands.customers import create_customer
from billing.loaded import SourceId
from billing.parties import Customer, CustomerTotal, SpendMonth
from billing.payments import Payment, PaymentMethod
from billing.subscriptions import Subscription
from core import clock, mailbox
from core.errors import Conflict, Invalid
from core.outbox import Outbox
from core.scope import everything, system
from core.settings import Settings
from core.web import House
from tenants.loading import importing
from tenants.loading.importing import check, write
from tenants.loading.shapes import record
from tests.visitor import Visitor

PRICE = {"type": "recurring_price", "currency": "EUR", "price": 2417, "payment_frequency_count": 1, "payment_frequency_interval": "Month"}
PRODUCT = {"type": "product", "data": {"product_id": "pdt_1", "name": "Acorn Team", "price": PRICE}}
BUYER = {"type": "customer", "data": {"customer_id": "cus_1", "email": "Ada@Marlow.example", "name": "Ada Marlow"}}
JANUARY = "2026-01-31T10:00:00Z"


def subscription(**more: Any) -> dict[str, Any]:
    return {"type": "subscription", "data": {
        "subscription_id": "sub_1", "customer": {"customer_id": "cus_1"}, "product_id": "pdt_1", "status": "active",
        "created_at": JANUARY, "next_billing_date": (clock.now() + timedelta(days=9)).isoformat(), **more}}


def payment(id: str = "pay_1", **more: Any) -> dict[str, Any]:
    return {"type": "payment", "data": {
        "payment_id": id, "customer": {"customer_id": "cus_1"}, "subscription_id": "sub_1", "total_amount": 2876, "tax": 459,
        "currency": "EUR", "created_at": JANUARY, "card_last_four": "4242", "card_network": "visa", **more}}


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
def house(app: Flask) -> House:
    return app.extensions["portal"]  # type: ignore[no-any-return]


@pytest.fixture
def acorn(house: House) -> str:
    """A business of this test's own; ids of another test's would be another business's."""
    with house.database.open(everything("the rows of the test before"), write=True) as db:
        return create_business(db, name="Acorn Notes", currency="EUR", zone="Europe/London").business_id


def load(house: House, business_id: str, path: Path, *lines: Any) -> Any:
    said = "\n".join(json.dumps(one) if isinstance(one, dict) else one for one in lines) + "\n"
    path.write_bytes(gzip.compress(said.encode()) if path.suffix == ".gz" else said.encode())
    return write(house.database, house.settings, business_id, "import", path, check(house.database, business_id, path))


def count(house: House, business_id: str, model: Any) -> int:
    with house.database.open(system(business_id)) as db:
        return db.scalar(select(func.count()).select_from(model)) or 0


def mine(*lines: dict[str, Any]) -> list[str]:
    """The lines with ids of this test alone: an id stands in one business."""
    mine.n += 1  # type: ignore[attr-defined]
    said = "\n".join(json.dumps(one) for one in lines)
    for kind in ("pdt", "cus", "sub", "pay", "ref", "lic", "pm"):
        said = said.replace(f'"{kind}_', f'"{kind}_{mine.n}x')  # type: ignore[attr-defined]
    return said.split("\n")


mine.n = 0  # type: ignore[attr-defined]


def test_what_is_loaded_is_there_and_nobody_is_written_to(house: House, acorn: str, tmp_path: Path, app: Flask) -> None:
    key = {"type": "license_key", "data": {"id": "lic_1", "customer_id": "cus_1", "product_id": "pdt_1", "key": f"K-{acorn}",
                                           "subscription_id": "sub_1"}}
    lines = mine(refund(876), payment(payment_method_id="pm_1"), key, subscription(), BUYER, PRODUCT)  # the wrong way round
    counts = load(house, acorn, tmp_path / "a.jsonl.gz", *lines)
    assert (counts.new, counts.same) == (6, 0)
    with house.database.open(system(acorn)) as db:
        one, paid = db.scalar(select(Subscription)), db.scalar(select(Payment))
        total, months = db.scalar(select(CustomerTotal)), db.scalars(select(SpendMonth).order_by(SpendMonth.month)).all()
        assert (one.collected_by, one.unit_minor, one.interval, one.customer_id) == ("import", 2417, "Month", paid.customer_id)
        assert (paid.refunded_minor, paid.is_open, paid.gateway) == (876, False, "import")
        assert (total.paid_minor, total.refunded_minor) == (2876, 876)
        assert [(row.month, row.paid_minor, row.refunded_minor) for row in months] == [("2026-01", 2876, 0), ("2026-02", 0, 876)]
        assert db.scalar(select(PaymentMethod.held_by)) == "import"
    with house.database.open(everything("what an import sends")) as db:
        assert not db.scalars(select(Outbox).where(Outbox.business_id == acorn, Outbox.type != "business.created")).all()
    ada = Visitor(app)
    ada.sign_in("ada@marlow.example")
    assert "Acorn Team" in ada.get("/").text and "write to" in ada.get(f"/subscriptions/{one.id}").text
    assert ada.get(f"/invoices/{paid.invoice_id}.pdf").body.startswith(b"%PDF")
    assert "19%" in ada.get(f"/invoices/{paid.invoice_id}").text.replace("\u00a0", "").replace(" ", "")
    with pytest.raises(Conflict), house.database.open(system(acorn), write=True) as db:
        cancel_at_period_end(db, one.id)  # nobody to ask: a file is no system


def test_reading_it_twice_writes_it_once(house: House, acorn: str, tmp_path: Path) -> None:
    lines = mine(PRODUCT, BUYER, subscription(), payment(), refund(100))
    load(house, acorn, tmp_path / "a.jsonl", *lines)
    counts = load(house, acorn, tmp_path / "a.jsonl", *lines)
    assert (counts.new, counts.same) == (0, 5)
    with house.database.open(system(acorn)) as db:
        assert db.scalar(select(CustomerTotal.paid_minor)) == 2876 and db.scalar(select(CustomerTotal.refunded_minor)) == 100
        assert sorted(db.scalars(select(SourceId.source).distinct())) == ["import"]


@pytest.mark.parametrize(("line", "says"), [
    ("{", "line: It is not JSON"),
    ('{"type": "customer", "data": {"customer_id": "cus_2", "email": "a@b.example", "name": "X", "metadata": {"n": 1e999}}}',
     "data.metadata.n: This number is out of range"),
    ('{"type": "customer", "data": {"customer_id": "cus_2", "email": "a@b.example", "name": "X\\ud800"}}', "data: Half of a surrogate"),
    ('{"type": "planet", "data": {}}', "type: 'planet' is none of"),
    ({"type": "customer", "data": {"customer_id": "cus_2", "email": "nobody", "name": "X"}}, "email: This is not an e-mail address"),
    ({"type": "customer", "data": {"customer_id": "cus_2", "name": "X"}}, "email: Field required"),
    ({"type": "customer", "data": {"customer_id": "../2", "email": "a@b.example", "name": "X"}}, "customer_id: String should match"),
    (BUYER, "id: line 2 says this already"),
    (payment(subscription_id="sub_9"), "subscription_id: there is no subscription sub_"),
    (payment(total_amount=-5), "total_amount: Input should be greater"),
    (payment(total_amount=12.5), "total_amount:"),
    (payment(currency="XYZ"), "currency:"),
    (subscription(subscription_id="sub_3", product_id="pdt_none"), "product_id: there is no product pdt_"),
    (subscription(subscription_id="sub_3", collected_by="us"), "payment_method_id: What is collected by us needs"),
    ({"type": "product", "data": {"product_id": "pdt_2", "name": "P", "price": {"type": "free", "currency": "EUR"}}}, "price.type:"),
])  # fmt: skip
def test_a_mistake_is_named_by_line_and_field_and_nothing_is_written(
    house: House, acorn: str, tmp_path: Path, line: Any, says: str
) -> None:
    good = mine(PRODUCT, BUYER, subscription(), line if isinstance(line, dict) else PRODUCT)
    lines = good if isinstance(line, dict) else [*good[:3], line]
    with pytest.raises(Invalid) as wrong:
        load(house, acorn, tmp_path / "a.jsonl", *lines)
    assert list(wrong.value.fields) == ["line 4"] and says in wrong.value.fields["line 4"], wrong.value.fields
    assert count(house, acorn, Customer) == 0


def test_money_and_owners_that_do_not_fit_are_refused(house: House, acorn: str, tmp_path: Path) -> None:
    ben = {"type": "customer", "data": {"customer_id": "cus_2", "email": "ben@hill.example", "name": "Ben Hill"}}
    for extra, says in (
        ([refund(2000), refund(877, "ref_2")], "2877 goes back of a payment of 2876"),
        ([refund(10, currency="USD")], "the payment was made in EUR"),
        ([ben, payment("pay_2", customer={"customer_id": "cus_2"})], "belongs to another customer"),
    ):
        with pytest.raises(Invalid) as wrong:
            load(house, acorn, tmp_path / "a.jsonl", *mine(PRODUCT, BUYER, subscription(), payment(), *extra))
        assert any(says in why for why in wrong.value.fields.values()), wrong.value.fields
    assert count(house, acorn, Payment) == 0


def test_an_id_of_another_business_is_refused(house: House, acorn: str, tmp_path: Path) -> None:
    lines = mine(PRODUCT, BUYER)
    load(house, acorn, tmp_path / "a.jsonl", *lines)
    with house.database.open(everything("a second business"), write=True) as db:
        other = create_business(db, name="Birch Hosting", currency="EUR").business_id
    with pytest.raises(Invalid) as wrong:
        load(house, other, tmp_path / "a.jsonl", *lines)
    assert "another business" in wrong.value.fields["line 2"]


def test_a_batch_is_written_whole_or_not_at_all(house: House, acorn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Something breaks in the third batch: the first two stand, and the same command writes the rest."""
    people = [{"customer_id": f"cus_b{n}", "email": f"b{n}@people.example", "name": f"B {n}"} for n in range(40)]
    lines, path = mine(*({"type": "customer", "data": one} for one in people)), tmp_path / "a.jsonl"
    monkeypatch.setattr(importing, "BATCH", 10)
    real, calls = importing.load, []

    def breaks(db: Any, source: str, records: Any, **more: Any) -> Any:
        counts = real(db, source, records, **more)
        calls.append(len(records))
        if len(calls) == 3:
            raise OSError("the disk is full")  # after its rows were sent, before they were committed
        return counts

    monkeypatch.setattr(importing, "load", breaks)
    with pytest.raises(OSError, match="disk"):
        load(house, acorn, path, *lines)
    assert count(house, acorn, Customer) == 20 == count(house, acorn, SourceId)
    counts = load(house, acorn, path, *lines)
    assert (counts.new, counts.same) == (20, 20) and count(house, acorn, Customer) == 40


def test_what_our_own_gateway_keeps_is_renewed_here(house: House, acorn: str, tmp_path: Path) -> None:
    """A method with its reference came along: the subscription is ours, and its next date is the 31st where the month has one."""
    method = {"type": "payment_method", "data": {"payment_method_id": "pm_1", "customer_id": "cus_1", "reference": f"ref of {acorn}",
                                                 "card": {"last4_digits": "4242", "card_network": "visa"}}}
    lines = mine(PRODUCT, BUYER, method, subscription(collected_by="us", payment_method_id="pm_1"))
    load(house, acorn, tmp_path / "a.jsonl", *lines)
    with house.database.open(system(acorn)) as db:
        one = db.scalar(select(Subscription))
    assert one.collected_by == "us" and one.payment_method_id
    clock.turn(timedelta(days=10))
    assert renewals.run_due(house.till) == 1


def test_the_command_says_what_it_did(house: House, acorn: str, tmp_path: Path, app: Flask) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(mine(PRODUCT, BUYER)) + "\n{oops\n", encoding="utf-8")
    runner = app.test_cli_runner()
    failed = runner.invoke(args=["import", str(path), "--business", acorn])
    assert failed.exit_code == 1 and "line 3: line: It is not JSON" in failed.output and "nothing was written" in failed.output
    path.write_text("\n".join(mine(PRODUCT, BUYER)) + "\n", encoding="utf-8")
    done = runner.invoke(args=["import", str(path), "--business", acorn])
    assert done.exit_code == 0 and json.loads(done.stdout) == {"lines": 2, "new": 2, "same": 0}
    assert runner.invoke(args=["import", str(path), "--business", "bus_none"]).exit_code == 1


def test_memory_does_not_grow_with_the_file(house: House, acorn: str, tmp_path: Path) -> None:
    def peak(lines: int) -> int:
        path = tmp_path / f"{lines}.jsonl"
        with path.open("w", encoding="utf-8") as out:
            for n in range(lines):
                out.write(json.dumps({"type": "customer", "data": {"customer_id": f"cus_m{n}", "email": f"m{n}@people.example",
                                                                   "name": f"M {n}"}}) + "\n")
        tracemalloc.start()
        check(house.database, acorn, path)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    peak(1100)  # what is imported and cached once
    assert peak(3100) - peak(1100) < 2000 * 200  # bytes: a line that is kept takes three times as much


def test_an_address_that_changed_there_is_told_to_the_old_one(house: House, acorn: str) -> None:
    """What is loaded sends nothing but this: from now on somebody else reads here."""
    for email, told in (("Ada@Marlow.example", []), ("ada@MARLOW.example", []), ("sam@void.example", ["ada@marlow.example"])):
        with house.database.open(system(acorn), write=True) as db:
            loading.load(db, "elsewhere", [record("customer", {"customer_id": "cus_moves", "email": email, "name": "Ada"})], renew=True)
        with house.database.open(everything("what a loading sends")) as db:
            heard = db.scalars(select(Outbox).where(Outbox.business_id == acorn, Outbox.type != "business.created"))
            assert [one.data["old"] for one in heard] == told
    house.worker.drain()
    assert [one.subject for one in mailbox.letters(house.database, "ada@marlow.example") if "address" in one.subject]


def test_what_was_made_here_is_left_alone(house: House, acorn: str) -> None:
    """An id that a file has by chance or by intent takes nobody's row over."""
    with house.database.open(system(acorn), write=True) as db:
        ours = create_customer(db, acorn, email="ben@hill.example", name="Ben Hill").customer_id
        told = record("customer", {"customer_id": ours, "email": "mallory@void.example", "name": "Mallory"})
        counts = loading.load(db, "elsewhere", [told], renew=True)
        row = db.scalars(select(Customer).where(Customer.customer_id == ours)).one()
        assert (row.name, row.email_key) == ("Ben Hill", "ben@hill.example") and (counts.new, counts.same) == (0, 1)
