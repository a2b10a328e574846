"""Constraints of the database itself: keys that cannot mix owners, and row-level security."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import ForeignKeyConstraint, Table, UniqueConstraint, create_engine, select, update
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError

from billing.model.catalogue import Product
from billing.model.invoices import Invoice
from billing.model.parties import Customer
from billing.model.subscriptions import Subscription
from core import guard
from core.db import Database
from core.errors import ScopeError
from core.models import BusinessOwned, Catalogue, CustomerOwned, PersonOwned, tables_by_kind
from core.outbox import Outbox
from core.revisions import MIGRATIONS
from core.scope import customer_of, everything, nobody, person, resolving, system
from migrations.tables import metadata
from tests.cast import Cast
from tests.engines import APP_PASSWORD, APP_ROLE

WITH_BUSINESS = (CustomerOwned, Catalogue, BusinessOwned)
ONE_PERSON_EACH = {("identity_emails", ("email_key",))}  # an address belongs to one person at most, wherever they buy
UNGUARDED = {"deployment"}  # one row: the mode, which is not secret
NO_CUSTOMER = {"events"}  # what concerns a business alone has customer ''
LOOSE_IDS = {  # ids that are history, not references: what they named may be gone
    ("invoice_lines", "product_id")
}


def owned() -> Iterator[tuple[Table, type]]:
    for name, kind in tables_by_kind().items():
        if isinstance(kind, type):
            yield metadata.tables[name], kind


def test_unique_keys_begin_with_the_owner() -> None:
    """Otherwise a unique violation would disclose a row of another business."""
    bad = []
    for table, kind in owned():
        first = "identity_id" if kind is PersonOwned else "business_id"
        keys = [
            tuple(c.name for c in table.primary_key),
            *(tuple(c.name for c in constraint.columns) for constraint in table.constraints if isinstance(constraint, UniqueConstraint)),
            *(tuple(c.name for c in indexe.columns) for indexe in table.indexes if indexe.unique),
        ]
        bad += [(table.name, key) for key in keys if key[0] != first and (table.name, key) not in ONE_PERSON_EACH]
    assert not bad


def test_foreign_keys_carry_the_owner() -> None:
    kinds, bad = {table.name: kind for table, kind in owned()}, []
    for table, kind in owned():
        for key in (constraint for constraint in table.constraints if isinstance(constraint, ForeignKeyConstraint)):
            target = key.referred_table.name
            if kind in WITH_BUSINESS and kinds.get(target) in WITH_BUSINESS:
                both = kind is CustomerOwned and kinds[target] is CustomerOwned
                need = {"business_id", "customer_id"} if both else {"business_id"}
                if not need <= set(key.column_keys):
                    bad.append((table.name, key.column_keys))
        if kind is CustomerOwned and table.name not in {"customers"} | NO_CUSTOMER:
            if not any(key.referred_table.name == "customers" for key in table.foreign_key_constraints):
                bad.append((table.name, "no key to its customer"))
    assert not bad


def test_ids_of_owned_rows_are_foreign_keys() -> None:
    """A column `<noun>_id` of an owned table refers to a row of the same owner, or is listed above."""
    nouns = {
        "subscription_id": "subscriptions",
        "invoice_id": "invoices",
        "payment_id": "payments",
        "payment_method_id": "payment_methods",
        "product_id": "products",
        "license_key_id": "license_keys",
        "collection_id": "collections",
    }
    bad = [
        (table.name, name)
        for table, kind in owned()
        for name in nouns
        if name in table.c and kind is not PersonOwned
        if not any(name in key.column_keys for key in table.foreign_key_constraints) and (table.name, name) not in LOOSE_IDS
    ]
    assert not bad


def test_there_is_one_migration_head() -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    assert len(ScriptDirectory.from_config(config).get_heads()) == 1


def test_the_migrated_database_matches_the_models(town: Cast) -> None:
    engine = create_engine(town.services.settings.owner_url)
    with engine.connect() as connection:
        found = compare_metadata(MigrationContext.configure(connection, opts={"compare_type": False}), metadata)
    engine.dispose()
    assert not [item for item in found if "alembic_version" not in str(item)]


# --- refusals of the session


def test_a_statement_without_a_scope_raises(town: Cast) -> None:
    with town.services.database.engine.connect() as bare, pytest.raises(ScopeError):
        bare.execute(select(Customer))


def test_the_nobody_scope_reads_no_owned_rows(town: Cast) -> None:
    for mapped in (Customer, Invoice, Product):
        with town.services.database.open(nobody()) as db, pytest.raises(ScopeError):
            db.scalars(select(mapped)).all()


def test_the_resolving_scope_reads_the_rows_of_its_addresses_only(town: Cast) -> None:
    with town.services.database.open(resolving(["ada@marlow.example"])) as db:
        assert set(db.scalars(select(Customer.customer_id))) == {town.ada_at_acorn.customer_id, town.ada_at_birch.customer_id}
    for mapped in (Invoice, Subscription, Product):
        with town.services.database.open(resolving(["ada@marlow.example"])) as db, pytest.raises(ScopeError):
            db.scalars(select(mapped)).all()
    with town.services.database.open(resolving(["ada@marlow.example"]), write=True) as db, pytest.raises(ScopeError):
        db.execute(update(Customer).values(name="Taken"))


@pytest.mark.parametrize("why", ["everything", "customer"])
def test_a_reading_session_writes_nothing(town: Cast, why: str) -> None:
    ada = town.ada_at_birch
    scope = everything("a reading test") if why == "everything" else customer_of(ada.business_id, ada.customer_id)

    def attempts() -> Iterator[Any]:
        yield lambda db: setattr(db.scalar(select(Customer).where(Customer.customer_id == ada.customer_id)), "name", "X")
        yield lambda db: db.delete(db.scalars(select(Invoice)).first())
        yield lambda db: db.execute(update(Customer).values(name="X"))

    for attempt in attempts():
        with town.services.database.open(scope) as db, pytest.raises(ScopeError):
            attempt(db)
            db.flush()


def test_a_session_keeps_its_scope(town: Cast) -> None:
    with town.services.database.open(nobody()) as db, pytest.raises(AttributeError):
        db.scope = everything("more")  # type: ignore[misc]


def test_a_request_scope_is_narrowed_once(street: Any) -> None:
    from core.request_context import open_for_request

    with street.app.test_request_context("/"):
        open_for_request(nobody())
        with pytest.raises(ScopeError):
            open_for_request(everything("a second look"))


def test_mixed_rows_are_refused_by_the_database(town: Cast) -> None:
    """Refused even under everything(): an Acorn row for Birch's customer, an invoice for another's subscription, another's card."""
    ada, ben = town.ada_at_birch, town.ben

    def ours(db: Any, mapped: Any) -> Any:
        return db.scalars(select(mapped).where(mapped.customer_id == ada.customer_id)).first()

    for mapped, column, value in (
        (Invoice, "customer_id", town.ada_at_acorn.customer_id),
        (Invoice, "subscription_id", ben.subscription_id),
        (Subscription, "payment_method_id", ben.method_id),
        (Subscription, "customer_id", ben.customer_id),
        (Subscription, "product_id", town.products["acorn.plan"]),
    ):
        with pytest.raises(IntegrityError), town.services.database.open(everything("a test of foreign keys"), write=True) as db:
            setattr(ours(db, mapped), column, value)


# --- row-level security by itself


@pytest.fixture
def raw(town: Cast) -> Iterator[psycopg.Connection]:
    """A connection with the application's database role, without the application."""
    if town.services.database.is_sqlite:
        pytest.skip("PostgreSQL only")
    with psycopg.connect(town.services.settings.database_url.replace("+psycopg", "", 1)) as connection:
        yield connection


def protected() -> list[str]:
    return sorted(name for name, kind in tables_by_kind().items() if kind != "open" and name not in UNGUARDED)


def test_every_owned_table_forces_row_level_security(raw: psycopg.Connection) -> None:
    found = dict(raw.execute("SELECT relname, relrowsecurity AND relforcerowsecurity FROM pg_class WHERE relkind = 'r'").fetchall())
    policies = {name for (name,) in raw.execute("SELECT tablename FROM pg_policies").fetchall()}
    assert [name for name in protected() if not found[name] or name not in policies] == []


def test_the_applications_role_cannot_bypass_row_level_security(raw: psycopg.Connection) -> None:
    assert APP_ROLE and APP_PASSWORD
    assert raw.execute("SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user").fetchone() == (False,)
    assert raw.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public' AND tableowner = current_user").fetchone() == (0,)


def test_without_a_scope_there_are_no_rows(raw: psycopg.Connection) -> None:
    for name in protected():
        assert raw.execute(f"SELECT count(*) FROM {name}").fetchone() == (0,), name


def test_a_scope_ends_with_its_transaction(town: Cast, raw: psycopg.Connection) -> None:
    """The next user of a pooled connection starts without a scope."""
    database = Database(town.services.settings)
    with database.open(everything("leave something behind")) as db:
        assert db.scalars(select(Customer.customer_id)).all()
    with guard.raw_sql(), database.engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM customers").scalar() == 0
        assert not connection.exec_driver_sql("SELECT current_setting('portal.kind', true)").scalar()
    database.dispose()


def test_outside_of_a_transaction_there_are_no_rows(town: Cast, raw: psycopg.Connection) -> None:
    session = town.services.database.session(everything("autocommit"))
    session.connection(execution_options={"isolation_level": "AUTOCOMMIT"})
    assert session.scalars(select(Customer.customer_id)).all() == []
    session.close()


def test_inserts_for_another_business_are_refused(town: Cast, raw: psycopg.Connection) -> None:
    with raw.transaction(), pytest.raises(psycopg.errors.InsufficientPrivilege):
        raw.execute("SELECT set_config('portal.kind', 'business', true), set_config('portal.business', %s, true)", (town.acorn,))
        raw.execute("INSERT INTO number_series (business_id, id, next) VALUES (%s, 'invoice-2', 1)", (town.birch,))


def test_the_outbox_accepts_inserts_and_hides_rows(town: Cast) -> None:
    person_ = person("idn_ada", [(town.birch, town.ada_at_birch.customer_id)])
    for scope in (person_, system(town.birch), nobody()):
        with pytest.raises((ScopeError, SQLAlchemyError)), town.services.database.open(scope) as db:
            db.scalars(select(Outbox)).all()
    with town.services.database.open(everything("read the outbox")) as db:
        assert db.scalars(select(Outbox)).first() is not None
    assert issubclass(DBAPIError, SQLAlchemyError)


def test_a_connection_that_died_while_idle_is_replaced(town: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    import core.db

    if town.services.database.is_sqlite:
        return  # a file does not disconnect
    with town.services.database.open(everything("whose connection is it")) as db:
        number = db.connection().connection.dbapi_connection.info.backend_pid  # type: ignore[union-attr]
    with psycopg.connect(town.services.settings.database_owner_url.replace("+psycopg", ""), autocommit=True) as owner:
        owner.execute("SELECT pg_terminate_backend(%s)", (number,))
    monkeypatch.setattr(core.db, "IDLE", 0.0)
    with town.services.database.open(everything("after the server hung up")) as db:
        assert db.scalar(select(Customer.customer_id).limit(1))
