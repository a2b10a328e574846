"""Imported rows store their account and get new ids. An account may set only listed fields."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, select, update
from sqlalchemy.exc import DBAPIError, IntegrityError

from billing.charging.refund import refund
from billing.history import documents
from billing.imports import load
from billing.imports.allowed_fields import MORE, VALUES, picked
from billing.licenses.lookup import by_text
from billing.model.imported_records import KINDS, Record
from billing.model.invoices import Invoice
from billing.model.licenses import LicenseKey
from billing.model.parties import Customer
from billing.model.payments import Payment, PaymentMethod
from billing.model.provenance import Origin
from billing.model.subscriptions import Subscription
from billing.pricing.limits import check_currency
from core import clock
from core.errors import Conflict, Invalid, ScopeError
from core.revisions import MIGRATIONS
from core.scope import everything, system
from tenants.imports.shapes import record
from tests.cast import Cast
from tests.visitor import Visitor

DODO = Origin("acc_one", "dodo", True)
SECOND = Origin("acc_two", "dodo", True)
PRICE = {"type": "recurring_price", "currency": "EUR", "price": 99_900, "payment_frequency_count": 1, "payment_frequency_interval": "Month"}
PAST = "2026-01-01T00:00:00Z"


def customer(email: str = Cast.ADA, id: str = "cus_1") -> Record:
    return record("customer", {"customer_id": id, "email": email, "name": "Ada Marlow"})


def product(id: str = "pdt_1", **more: Any) -> Record:
    return record("product", {"product_id": id, "name": "Theirs", "price": PRICE, **more})


def subscription(id: str = "sub_1", **more: Any) -> Record:
    return record(
        "subscription",
        {
            "subscription_id": id,
            "customer": {"customer_id": "cus_1"},
            "product_id": "pdt_1",
            "status": "active",
            "created_at": PAST,
            "next_billing_date": PAST,
            **more,
        },
    )


def payment(id: str = "pay_1", **more: Any) -> Record:
    return record(
        "payment",
        {
            "payment_id": id,
            "customer": {"customer_id": "cus_1"},
            "total_amount": 2900,
            "currency": "EUR",
            "created_at": "2026-11-01T00:00:00Z",
            **more,
        },
    )


def put(cast: Cast, *records: Record, origin: Origin = DODO, business_id: str = "") -> Any:
    with cast.services.database.open(system(business_id or cast.acorn), write=True) as db:
        return load(db, origin, records, renew=True)


def only(cast: Cast, model: Any, *which: Any, business_id: str = "") -> Any:
    with cast.services.database.open(system(business_id or cast.acorn)) as db:
        return db.scalars(select(model).where(*(which or (model.account_id == DODO.account_id,)))).one()


def test_fields_that_a_mirror_may_set_are_listed_and_move_no_money() -> None:
    never = {
        "collected_by",
        "held_by",
        "reference",
        "account_id",
        "is_open",
        "is_default",
        "key",
        "gateway",
        "credit_minor",
        "anchor_at",
        "period_n",
        "check_at",
        "refunded_minor",
        "business_id",
        "id",
        "customer_id",
        "first_paid_at",
        "recognized_key",
    }
    assert set(VALUES) == set(KINDS)
    for kind in KINDS:
        assert not never & {*VALUES[kind], *MORE.get(kind, ())} - ({"key"} if kind == "license_key" else set())
    values = {"status": "active", "collected_by": "us", "credit_minor": 5}
    told = Record("subscription", "sub_1", values, (), "cus_1", {"collected_by": "us"})
    assert (picked(told).values, picked(told).more) == ({"status": "active"}, {})


def test_a_mirrored_subscription_is_never_charged_here(cast: Cast) -> None:
    """`collected_by: us`, a method saved here and a past date once caused a charge of 999 euros."""
    method = record("payment_method", {"payment_method_id": "pm_1", "customer_id": "cus_1", "reference": "a card of our gateway"})
    put(cast, customer(), product(), method, subscription(collected_by="us", payment_method_id=cast.ada_at_acorn.method_id))
    put(cast, subscription(collected_by="us", payment_method_id="pm_1", next_billing_date="2026-02-01T00:00:00Z"))
    row = only(cast, Subscription)
    assert row.collected_by == "dodo" and row.payment_method_id != cast.ada_at_acorn.method_id
    with cast.services.database.open(system(cast.acorn)) as db:
        held = list(db.scalars(select(PaymentMethod).where(PaymentMethod.account_id == DODO.account_id)))
    assert held and all(item.held_by == "dodo" and not item.is_default and item.reference.startswith("acc_one:") for item in held)


@pytest.mark.parametrize(
    ("model", "column", "value"), [(Subscription, "collected_by", "us"), (PaymentMethod, "held_by", "us"), (Payment, "is_open", True)]
)
def test_the_database_refuses_mirrored_rows_that_would_be_charged(cast: Cast, model: Any, column: str, value: Any) -> None:
    put(cast, customer(), product(), subscription(payment_method_id="pm_1"), payment(payment_method_id="pm_1"))
    with pytest.raises((IntegrityError, DBAPIError), match="ck_"), cast.services.database.open(system(cast.acorn), write=True) as db:
        db.execute(update(model).where(model.account_id == DODO.account_id).values({column: value}))


def test_a_mirror_rewrites_no_payment_made_here_though_both_systems_are_called_dodo(cast: Cast) -> None:
    buyer = cast.ada_at_acorn
    before = only(cast, Payment, Payment.id == buyer.purchase_id)
    assert before.gateway == "dodo" and before.status == "succeeded"
    told = record("refund", {"refund_id": "ref_1", "payment_id": buyer.purchase_id, "amount": 1, "currency": "EUR"})
    put(cast, customer(), payment(buyer.purchase_id, status="failed", total_amount=1))
    put(cast, told)
    after = only(cast, Payment, Payment.id == buyer.purchase_id)
    for name in ("status", "amount_minor", "refunded_minor", "currency", "customer_id", "invoice_id"):
        assert getattr(after, name) == getattr(before, name)
    assert only(cast, Payment).id != buyer.purchase_id


def test_two_accounts_of_one_system_do_not_change_each_others_rows(cast: Cast) -> None:
    put(cast, customer(), product(), subscription())
    first = only(cast, Subscription)
    put(cast, customer("mallory@void.example"), product(), subscription(status="cancelled"), origin=SECOND)
    assert only(cast, Subscription).status == first.status == "active"
    assert only(cast, Customer).email_key == cast.ADA
    with pytest.raises(ScopeError), cast.services.database.open(system(cast.acorn), write=True) as db:
        row = db.scalar(select(Customer).where(Customer.account_id == DODO.account_id))
        assert row is not None
        load(db, SECOND, [])  # nothing of its own, and somebody wrote into a row of another account meanwhile
        _write_during(db, row)


def _write_during(db: Any, row: Customer) -> None:
    from billing.imports.batch import ImportBatch

    with ImportBatch(db, SECOND, True, None).guarded():
        row.name = "Somebody else"
        db.flush()


def test_an_invoice_id_chosen_by_an_account_opens_no_foreign_invoice(cast: Cast, app: Any) -> None:
    """The account sets the number and this portal the id. Ada sees Birch's invoice under its id, whatever Acorn's account sends."""
    birch = only(
        cast, Invoice, Invoice.customer_id == cast.ada_at_birch.customer_id, Invoice.subscription_id.is_not(None), business_id=cast.birch
    )
    put(cast, customer(), payment(invoice_id=birch.id, total_amount=100))
    mine = only(cast, Invoice)
    assert mine.id != birch.id and mine.number == birch.id
    ada = Visitor(app)
    ada.sign_in(cast.ADA)
    assert "Birch Hosting" in ada.get(f"/invoices/{birch.id}").text and "Birch Hosting" not in ada.get(f"/invoices/{mine.id}").h1
    # a row that was loaded before ids were ours: the invoice that was issued here is still the one that opens
    with cast.services.database.open(everything("an old row"), write=True) as db:
        old = {
            column.key: getattr(mine, column.key) for column in Invoice.__table__.c if column.key not in ("snapshot", "tax_evidence", "id")
        }
        db.add(Invoice(**{**old, "id": birch.id, "number": "OLD-1", "operation": "old", "snapshot": {}}))
    with cast.services.database.open(everything("both")) as db:
        assert documents.invoice(db, birch.id).invoice.business_id == cast.birch


def test_a_mirrored_invoice_takes_no_number_of_our_series(cast: Cast) -> None:
    put(
        cast,
        customer(),
        payment(invoice_id="ACO-0900"),
        payment("pay_2", invoice_id="RE-2025/0001"),
        payment("pay_3", invoice_id="RE-2025/0001"),
    )
    with cast.services.database.open(system(cast.acorn)) as db:
        numbers = set(db.scalars(select(Invoice.number).where(Invoice.account_id == DODO.account_id)))
    assert numbers == {"ACO-0900.pay_1", "RE-2025/0001", "RE-2025/0001.pay_3"}


def test_external_payments_are_refunded_externally(cast: Cast) -> None:
    put(cast, customer(), payment())
    with pytest.raises(Conflict, match="paid through another system. Refund it there"):
        refund(cast.services.processor, system(cast.acorn), only(cast, Payment).id)


def test_a_mirrored_collection_takes_no_plan_out_of_one_that_was_made_here(cast: Cast) -> None:
    from billing.catalogue.products import create_collection
    from billing.model.catalogue import CollectionItem, Product

    put(cast, product())
    plan = only(cast, Product).id
    with cast.services.database.open(system(cast.acorn), write=True) as db:
        ours = create_collection(db, cast.acorn, name="Ours", product_ids=[plan]).id
    put(
        cast,
        record(
            "collection",
            {
                "id": "pdc_1",
                "name": "Theirs",
                "groups": [
                    {"group_id": "grp", "products": [{"product_id": "pdt_1"}]},
                    {"group_id": "grp", "products": [{"product_id": "pdt_1"}]},
                ],
            },
        ),
    )
    with cast.services.database.open(system(cast.acorn)) as db:
        assert db.scalar(select(CollectionItem.collection_id).where(CollectionItem.product_id == plan)) == ours


def test_an_impossible_date_breaks_no_page(cast: Cast, app: Any) -> None:
    """A row from before bounds existed is omitted, the page says so, and all other rows are shown."""
    put(cast, customer(), product(), subscription(), payment())
    with cast.services.database.open(system(cast.acorn), write=True) as db:
        row = db.scalars(select(Subscription).where(Subscription.account_id == DODO.account_id)).one()
        row.next_billing_at = datetime(9999, 12, 15, tzinfo=UTC)
        bad = row.id
    ada = Visitor(app)
    ada.sign_in(cast.ADA)
    for page in ("/", "/subscriptions", "/?sort=price", f"/business/{cast.acorn}/"):
        said = ada.get(page, expect=None)
        assert said.status in (200, 404), page
        if said.status == 200 and page != f"/business/{cast.acorn}/":
            assert "One subscription can’t be shown." in said.text and "Theirs" in said.text
            assert "Acorn Team" in said.text and "Birch Team" in said.text
    assert "This subscription can’t be shown." in ada.get(f"/subscriptions/{bad}").text
    assert "Acorn Team" in ada.get(f"/subscriptions/{cast.ada_at_acorn.subscription_id}").text
    for page in ("/purchases", "/billing-history", "/payment-methods", "/license-keys", "/activity", "/search?q=theirs"):
        ada.get(page)


def test_a_license_key_that_an_account_repeats_does_not_shut_out_the_one_that_was_made_here(cast: Cast) -> None:
    """Keys are looked up by text without a business, so a second key with the same text would be ambiguous."""
    birch = only(cast, LicenseKey, LicenseKey.customer_id == cast.ada_at_birch.customer_id, business_id=cast.birch)
    told = {"id": "lic_1", "customer_id": "cus_1", "product_id": "pdt_1", "key": birch.key, "source": "auto"}
    put(cast, customer(), product(), record("license_key", told))
    found = by_text(cast.services.database, birch.key)
    assert found is not None and (found.business_id, found.id) == (cast.birch, birch.id)
    with pytest.raises(Invalid):  # nor does one of the same business
        ours = only(cast, LicenseKey, LicenseKey.customer_id == cast.ada_at_acorn.customer_id)
        put(cast, record("license_key", {**told, "id": "lic_2", "key": ours.key}))


@pytest.mark.parametrize(
    ("currency", "fits", "exceeds"),
    [
        ("EUR", 20_000_000_00, 20_000_000_01),
        ("JPY", 2_000_000_000, 2_000_000_001),
        ("IDR", 25_000_000_00, 200_000_000_001_00),
        ("KWD", 20_000_000_000, 20_000_000_001),
    ],
)
def test_an_amount_is_bounded_by_its_currency(currency: str, fits: int, exceeds: int) -> None:
    def priced(minor: int) -> Record:
        return record("product", {"product_id": "p", "name": "P", "price": {**PRICE, "currency": currency, "price": minor}})

    assert priced(fits).values["price_minor"] == fits
    payment(currency=currency, total_amount=exceeds)
    for make in (lambda: priced(exceeds), lambda: payment(currency=currency, total_amount=exceeds * 100)):
        with pytest.raises(Invalid):
            make()


DATES = ("9999-12-15T00:00:00Z", "0001-01-01T00:00:00Z", "2201-01-01T00:00:00Z", "1969-12-31T23:59:59Z")


@pytest.mark.parametrize("field", ["created_at", "previous_billing_date", "next_billing_date", "expires_at", "cancelled_at", "paused_at"])
@pytest.mark.parametrize("date", DATES)
def test_an_impossible_date_is_refused(field: str, date: str) -> None:
    with pytest.raises(Invalid) as wrong:
        subscription(**{field: date})
    assert list(wrong.value.fields) == [field]


@pytest.mark.parametrize("code", ["XXX", "XTS", "XAU", "XAG", "XDR", "XBA", "CLF", "DEM", "eur", "", "EURO"])
def test_an_unknown_currency_code_is_refused(code: str) -> None:
    priced = {"product_id": "p", "name": "P", "price": {**PRICE, "currency": code}}
    for make in (lambda: payment(currency=code), lambda: subscription(currency=code), lambda: record("product", priced)):
        with pytest.raises(Invalid):
            make()
    with pytest.raises(Invalid):
        check_currency(code)


@pytest.mark.parametrize(("kind", "data"), [
    ("customer", {"customer_id": "c", "email": "a@b.example", "name": "A", "metadata": {"k": "\0"}}),
    ("customer", {"customer_id": "c", "email": "a@b.example", "name": "A", "metadata": {"k\ud800": 1}}),
    ("customer", {"customer_id": "c", "email": "a@b.example", "name": "A\ud800"}),
    ("customer", {"customer_id": "c", "email": "a@b.example", "name": "A", "metadata": {"k": [[[[[[[[[[1]]]]]]]]]]}}),
    ("customer", {"customer_id": "c", "email": "a@b.example", "name": "A", "metadata": {"k": float("inf")}}),
    ("customer", {"customer_id": "c", "email": "a@b.example", "name": "A", "metadata": {"k": 2**70}}),
    ("customer", {"customer_id": "c", "email": "a@b.example", "name": "A", "metadata": {"k": "x" * 30_000}}),
    ("customer", {"customer_id": "c", "email": "a@b.example", "name": "A", "preferred_locale": "de\0"}),
    ("product", {"product_id": "p", "name": "P", "price": PRICE, "description": "\0"}),
    ("product", {"product_id": "p", "name": "P", "price": PRICE, "addons": [f"adn_{n}" for n in range(2000)]}),
    ("product", {"product_id": "p", "name": "P", "price": {**PRICE, "price": 10**14}}),
    ("product", {"product_id": "p", "name": "P", "price": {**PRICE, "payment_frequency_interval": "Year", "payment_frequency_count": 900}}),
    ("license_key", {"id": "l", "customer_id": "c", "product_id": "p", "key": "K\0"}),
    ("payment_method", {"payment_method_id": "m", "customer_id": "c", "card": {"expiry_month": 12, "expiry_year": 9999}}),
    ("payment", {"payment_id": "p", "customer": {"customer_id": "c"}, "total_amount": 5, "tax": 6, "currency": "EUR"}),
    *(("payment", {"payment_id": "p", "customer": {"customer_id": "c"}, "total_amount": 5, "currency": "EUR", "service_periods": [period]})
      for period in ({"starts_at": "9999-12-31T23:59:59Z", "ends_at": PAST}, {"starts_at": PAST, "ends_at": "0001-01-01T00:00:00+14:00"},
                     {"starts_at": "2026-01-01T00:00:00", "ends_at": PAST}, {"starts_at": ["x"]}, "a month")),
])  # fmt: skip
def test_a_value_that_cannot_be_stored_or_shown_is_refused_by_name(kind: str, data: dict[str, Any]) -> None:
    with pytest.raises(Invalid) as wrong:
        record(kind, data)
    assert wrong.value.fields


def test_mirrored_records_are_not_renewed_retried_or_reconciled(cast: Cast) -> None:
    from billing.renewals import renew as renewing

    put(cast, customer(), product(), subscription(), payment(subscription_id="sub_1"))
    with cast.services.database.open(system(cast.acorn)) as db:
        before = list(db.scalars(select(Payment.id).where(Payment.subscription_id == only(cast, Subscription).id)))
    clock.turn(timedelta(days=1))
    renewing.run_due(cast.services.processor)
    with cast.services.database.open(system(cast.acorn)) as db:
        assert list(db.scalars(select(Payment.id).where(Payment.subscription_id == only(cast, Subscription).id))) == before


def test_the_migration_assigns_accounts_to_older_rows(cast: Cast) -> None:
    """Revision 0023 on existing rows: rows of an account get the account; local rows get none, also if the account returned them."""
    put(cast, customer(), product(), subscription(payment_method_id="pm_1"), payment(payment_method_id="pm_1"))
    engine = create_engine(cast.services.settings.owner_url)
    tables = ("customers", "products", "subscriptions", "payments", "invoices", "payment_methods")
    with engine.connect() as connection, connection.begin() as transaction:
        run = connection.exec_driver_sql
        if connection.dialect.name == "postgresql":
            run("SELECT set_config('portal.kind', 'everything', true)")
        run("ALTER TABLE source_ids ADD COLUMN source varchar")
        run("UPDATE source_ids SET source = 'dodo', reference = row_id, id = kind || '/' || row_id")
        run("DELETE FROM source_ids WHERE kind = 'payment_method'")
        run("UPDATE payments SET key = 'dodo/' || id WHERE account_id = 'acc_one'")
        run("UPDATE invoices SET operation = 'dodo:' || id WHERE account_id = 'acc_one'")
        for table in tables:
            run(f"UPDATE {table} SET account_id = NULL")  # noqa: S608
        run(
            "INSERT INTO source_ids (business_id, id, source, account_id, kind, reference, row_id, digest, loaded_at)"  # noqa: S608
            f" SELECT business_id, 'payment/' || id, 'dodo', '', '', '', id, 'x', created_at FROM payments"
            f" WHERE id = '{cast.ada_at_acorn.purchase_id}'"
        )
        run("ALTER TABLE external_accounts RENAME TO elsewhere_accounts")  # its name at that revision; undone with the transaction
        run(
            "INSERT INTO elsewhere_accounts (business_id, id, account_id, base_url, key_sealed, created_at)"  # noqa: S608
            f" VALUES ('{cast.acorn}', 'dodo', '', '', '', '2026-01-01T00:00:00.000000Z')"
        )
        ScriptDirectory(MIGRATIONS).get_revision("0023").module._fill(connection)  # type: ignore[union-attr]
        account = run("SELECT account_id FROM elsewhere_accounts").scalar_one()
        assert account.startswith("acc_")
        for table in tables:
            found = run(f"SELECT business_id, account_id FROM {table} WHERE account_id IS NOT NULL").all()  # noqa: S608
            assert [tuple(row) for row in found] == [(cast.acorn, account)], table
        kinds = {row[0] for row in run("SELECT kind FROM source_ids").all()}
        assert "payment_method" in kinds and run("SELECT count(*) FROM source_ids WHERE kind = 'payment'").scalar_one() == 1
        transaction.rollback()
    engine.dispose()
