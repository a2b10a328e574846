"""Ada cannot read or change Ben's rows by any kind of SQL access, on both engines, with each layer of protection disabled in turn.

Every way in `READS` either raises or returns nothing of Ben's; every way in `WRITES` raises or changes nothing of his.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import exists, func, insert, literal_column, select, table, text, union, update
from sqlalchemy.exc import DBAPIError, InvalidRequestError, SQLAlchemyError
from sqlalchemy.orm import Session, aliased, make_transient, make_transient_to_detached
from sqlalchemy.sql import column

from billing.model.catalogue import Product
from billing.model.invoices import Invoice, InvoiceLine
from billing.model.parties import Customer
from billing.model.payments import Payment
from billing.model.subscriptions import Subscription
from core import clock, guard
from core.errors import ScopeError
from core.models import tables_by_kind
from core.scope import Scope, api_key, customer_of, everything, person
from tests.cast import Cast

pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SAWarning")  # of cartesian products: some ways are meant to be bad
T = Invoice.__table__
C = Customer.__table__
REFUSED = (ScopeError, SQLAlchemyError)
WAYS = {
    "entity": lambda db, ben: db.scalars(select(Invoice)).all(),
    "one by id": lambda db, ben: db.scalar(select(Invoice).where(Invoice.id == ben.invoice_id)),
    "columns": lambda db, ben: db.execute(select(Customer.name, Customer.email, Customer.customer_id)).all(),
    "filter by his name": lambda db, ben: db.execute(select(Customer.email).where(Customer.name == "Ben Hill")).all(),
    "count of": lambda db, ben: (
        db.scalar(select(func.count()).select_from(Customer).where(Customer.customer_id == ben.customer_id)) or None
    ),
    "exists": lambda db, ben: db.scalar(select(exists().where(Customer.customer_id == ben.customer_id))) or None,
    "sub-select": lambda db, ben: db.execute(select(Customer.email).where(Customer.customer_id.in_(select(Invoice.customer_id)))).all(),
    "scalar sub-select": lambda db, ben: db.execute(select(Customer.email, select(func.max(Invoice.customer_id)).scalar_subquery())).all(),
    "sub-select in from": lambda db, ben: db.execute(select(select(Customer.email).subquery())).all(),
    "common table": lambda db, ben: db.execute(select(select(Customer.email, Customer.name).cte("mine"))).all(),
    "union": lambda db, ben: db.execute(union(select(Customer.email), select(Invoice.customer_id))).all(),
    "alias": lambda db, ben: db.scalars(select(aliased(Customer))).all(),
    "alias joined to itself": lambda db, ben: _join_itself(db),
    "join": lambda db, ben: db.execute(
        select(Customer.email, Invoice.customer_id).join(Invoice, Invoice.business_id == Customer.business_id)
    ).all(),
    "outer join": lambda db, ben: db.execute(
        select(Customer.email, Invoice.customer_id).outerjoin(Invoice, Invoice.business_id == Customer.business_id)
    ).all(),
    "cross join": lambda db, ben: db.execute(select(Subscription.customer_id, Payment.customer_id).join(Payment, text("1=1"))).all(),
    "query": lambda db, ben: db.query(Customer).all(),
    "query of a table": lambda db, ben: db.query(C).all(),
    "get": lambda db, ben: db.get(Invoice, (ben.business_id, ben.invoice_id)),
    "get fresh": lambda db, ben: db.get(Customer, (ben.business_id, ben.customer_id), populate_existing=True),
    "core select": lambda db, ben: db.execute(select(C)).all(),
    "core alias": lambda db, ben: db.execute(select(C.alias())).all(),
    "core beside an entity": lambda db, ben: db.execute(select(Customer.email, T.c.customer_id)).all(),
    "core under an entity": lambda db, ben: db.execute(select(Customer.email, select(func.max(T.c.customer_id)).scalar_subquery())).all(),
    "core exists": lambda db, ben: db.execute(
        select(Customer.email).where(exists(select(T.c.id).where(T.c.customer_id == ben.customer_id)))
    ).all(),
    "core join": lambda db, ben: db.execute(select(Customer.email, T.c.customer_id).join(T, T.c.business_id == Customer.business_id)).all(),
    "a table by name": lambda db, ben: db.execute(select(table("customers", column("email")))).all(),
    "a table by another case": lambda db, ben: db.execute(select(table("CUSTOMERS", column("email")))).all(),
    "a table by schema": lambda db, ben: db.execute(select(table("customers", column("email"), schema=_schema(db)))).all(),
    "a table by name beside an entity": lambda db, ben: db.execute(
        select(Subscription.id, table("customers", column("email")).c.email)
    ).all(),
    "a literal beside an entity": lambda db, ben: db.execute(
        select(Subscription.id, literal_column("(SELECT max(email) FROM customers WHERE name = 'Ben Hill')"))
    ).all(),
    "text in a condition": lambda db, ben: db.execute(
        select(Subscription.id).where(text("EXISTS (SELECT 1 FROM customers WHERE name = 'Ben Hill')"))
    ).all(),
    "from statement": lambda db, ben: db.scalars(select(Customer).from_statement(text("SELECT * FROM customers"))).all(),
    "from core statement": lambda db, ben: db.scalars(select(Customer).from_statement(select(C))).all(),
    "text": lambda db, ben: db.execute(text("SELECT * FROM customers")).all(),
    "connection, text": lambda db, ben: db.connection().execute(text("SELECT * FROM customers")).all(),
    "connection, core": lambda db, ben: db.connection().execute(select(C)).all(),
    "connection, entity": lambda db, ben: db.connection().execute(select(Customer)).all(),
    "connection, marker forged": lambda db, ben: db.connection().execute(select(C), execution_options={guard.MARK: True}).all(),
    "session, marker forged": lambda db, ben: db.execute(select(C), execution_options={guard.MARK: True}).all(),
    "driver": lambda db, ben: db.connection().exec_driver_sql("SELECT * FROM customers").all(),
    "update returning": lambda db, ben: db.execute(update(Customer).values(phone=None).returning(Customer.email)).all(),
    "core update returning": lambda db, ben: db.execute(update(C).values(phone=None).returning(C.c.email)).all(),
    "refresh": lambda db, ben: db.refresh(ben.loaded()),
    "refresh of a made-up row": lambda db, ben: _refresh_made_up(db, ben),
    "merge": lambda db, ben: _value(db.merge(ben.loaded(), load=False)),
    "lazy column of his row": lambda db, ben: _adopt_expired(db, ben),
}
CHANGES: dict[str, Callable[[Any, Any, Any], Any]] = {
    "core update": lambda db, ben, ada: db.execute(update(C).where(C.c.customer_id == ben.customer_id).values(name="Taken")),
    "core delete": lambda db, ben, ada: db.execute(InvoiceLine.__table__.delete()),
    "update of the entity": lambda db, ben, ada: db.execute(
        update(Customer).where(Customer.customer_id == ben.customer_id).values(name="Taken")
    ),
    "update by key": lambda db, ben, ada: db.execute(
        update(Customer), [{"business_id": ben.business_id, "customer_id": ben.customer_id, "name": "Taken"}]
    ),
    "update by key, forced": lambda db, ben, ada: db.execute(
        update(Customer),
        {"business_id": ben.business_id, "customer_id": ben.customer_id, "name": "Taken"},
        execution_options={"dml_strategy": "bulk"},
    ),
    "update, core only": lambda db, ben, ada: db.execute(
        update(Customer).values(name="Taken"), execution_options={"dml_strategy": "core_only"}
    ),
    "query update": lambda db, ben, ada: db.query(Customer).filter_by(customer_id=ben.customer_id).update({"name": "Taken"}),
    "query delete": lambda db, ben, ada: db.query(InvoiceLine).filter_by(customer_id=ben.customer_id).delete(),
    "insert": lambda db, ben, ada: db.execute(insert(Customer), [_row(ben)]),
    "insert one": lambda db, ben, ada: db.execute(insert(Customer).values(**_row(ben))),
    "core insert": lambda db, ben, ada: db.execute(insert(C), [_row(ben)]),
    "insert from select": lambda db, ben, ada: db.execute(insert(C).from_select(["email"], select(C.c.email))),
    "bulk update": lambda db, ben, ada: db.bulk_update_mappings(
        Customer, [{"business_id": ben.business_id, "customer_id": ben.customer_id, "name": "Taken"}]
    ),
    "bulk insert": lambda db, ben, ada: db.bulk_insert_mappings(Customer, [_row(ben)]),
    "bulk save": lambda db, ben, ada: db.bulk_save_objects([Customer(**_row(ben))]),
    "bulk save of his row": lambda db, ben, ada: db.bulk_save_objects([_changed(ben.loaded())]),
    "add a row for him": lambda db, ben, ada: db.add(Customer(**_row(ben))),
    "add his row": lambda db, ben, ada: db.add(_changed(ben.loaded())),
    "add his row as mine": lambda db, ben, ada: db.add(_claimed(ben.loaded(), ada)),
    "add a made-up row": lambda db, ben, ada: _change_made_up(db, ben, ada),
    "delete a made-up row": lambda db, ben, ada: db.delete(_forged(ben, ada)),
    "merge his row": lambda db, ben, ada: db.merge(_changed(ben.loaded())),
    "delete his row": lambda db, ben, ada: db.delete(ben.loaded()),
    "a new row under his id": lambda db, ben, ada: db.add(_fresh_copy(ben.loaded())),
    "give my row away": lambda db, ben, ada: setattr(db.scalars(select(Invoice)).first(), "customer_id", ben.customer_id),
    "give my row to his business": lambda db, ben, ada: setattr(db.scalars(select(Customer)).first(), "business_id", "bus_elsewhere"),
    "give mine away by update": lambda db, ben, ada: db.execute(update(Invoice).values(customer_id=ben.customer_id)),
    "give mine away by parameter": lambda db, ben, ada: db.execute(update(Invoice), {"customer_id": ben.customer_id}),
    "raise a price": lambda db, ben, ada: db.execute(update(Product).where(Product.business_id == ben.business_id).values(price_minor=1)),
}

FIND_NOTHING = {"update of the entity", "query update", "query delete", "raise a price"}  # no row matches, and none is changed


class Ben:
    """All of Ben's ids, which Mallory may have learned. `loaded()` is his own row, as another session read it."""

    def __init__(self, cast: Cast) -> None:
        self.database = cast.services.database
        self.business_id, self.customer_id, self.ada = cast.birch, cast.ben.customer_id, cast.ada_at_birch.customer_id
        with self.open() as db:
            self.invoice_id = db.scalar(select(Invoice.id).where(Invoice.customer_id == self.customer_id))
        self.secrets = [
            item.encode()
            for item in (
                "Ben Hill",
                cast.BEN,
                self.customer_id,
                self.invoice_id,
                cast.ben.subscription_id,
                cast.ben.payment_id,
                cast.ben.purchase_id,
                cast.ben.method_id,
            )
        ]

    def open(self) -> Any:
        return self.database.open(everything("look at Ben's rows in a test"))

    def loaded(self) -> Any:
        with self.open() as db:
            row = db.scalar(select(Invoice).where(Invoice.id == self.invoice_id))
            db.expunge(row)
            return row

    def rows(self) -> list[Any]:
        """Return every owned row of Ben's, and the number of rows, to detect any change."""
        with self.open() as db:
            tables = [mapped.__table__ for mapped in (Customer, Invoice, InvoiceLine, Subscription, Payment)]
            return [
                *(
                    sorted(map(tuple, db.execute(select(*table.c).where(table.c.customer_id == self.customer_id))), key=repr)
                    for table in tables
                ),
                *(
                    db.scalar(
                        select(func.count())
                        .select_from(table)
                        .where(table.c.business_id == self.business_id, table.c.customer_id != self.ada)
                    )
                    for table in tables
                ),
                db.scalar(select(func.sum(Product.price_minor))),
            ]


@pytest.fixture(scope="module")
def ben(town: Cast) -> Ben:
    return Ben(town)


@pytest.fixture(params=["person", "customer", "other business"])
def scope(request: pytest.FixtureRequest, town: Cast) -> Scope:
    ada = town.ada_at_acorn
    return {
        "person": person("idn_ada", [(town.acorn, ada.customer_id), (town.birch, town.ada_at_birch.customer_id)]),
        "customer": customer_of(town.acorn, ada.customer_id),
        "other business": api_key(town.acorn, "key_acorn"),
    }[request.param]


def look(town: Cast, ben: Ben, scope: Scope, way: str) -> None:
    """Read in one way. Neither the result nor an error contains anything of Ben's."""
    session = town.services.database.session(scope, write=True)
    try:
        try:
            found = WAYS[way](session, ben)
        except REFUSED as error:
            found = _words(error)
        seen = shown(found)
    finally:
        session.rollback()
        session.close()
    assert not [secret for secret in ben.secrets if secret in seen], f"{way}: {seen[:400]!r}"


def change(town: Cast, ben: Ben, scope: Scope, way: str) -> None:
    """Try to change rows in one way and commit. Ben's rows stay unchanged."""
    before = ben.rows()
    session = town.services.database.session(scope, write=True)
    try:
        CHANGES[way](session, ben, scope)
        session.commit()
        refused = False
    except (*REFUSED, AssertionError):
        refused = True
    finally:
        session.rollback()
        session.close()
    assert ben.rows() == before, way
    assert refused or way in FIND_NOTHING, f"{way} passed without a word"


def test_no_way_of_reading_returns_another_customers_rows(town: Cast, ben: Ben, scope: Scope) -> None:
    for way in WAYS:
        look(town, ben, scope, way)


def test_no_way_of_writing_changes_another_customers_rows(town: Cast, ben: Ben, scope: Scope) -> None:
    for way in CHANGES:
        change(town, ben, scope, way)


def test_the_same_ways_reach_ones_own_rows(town: Cast) -> None:
    """Otherwise the tests above would pass on an empty database."""
    ada = town.ada_at_birch
    with town.services.database.open(person("idn_ada", [(town.birch, ada.customer_id)])) as db:
        assert db.scalars(select(Customer.customer_id)).all() == [ada.customer_id]
        assert len(db.scalars(select(Invoice)).all()) == 2
        invoice = db.scalars(select(Invoice)).first()
        db.refresh(invoice)
        assert invoice.snapshot and db.get(Invoice, (invoice.business_id, invoice.id)) is invoice


def test_ids_of_one_business_do_not_match_in_another(town: Cast, ben: Ben) -> None:
    """Ids are unique within a business only. If Acorn gives Ada's row Ben's id, nothing opens at Birch."""
    crossed = person("idn_ada", [(town.acorn, ben.customer_id), (town.birch, town.ada_at_birch.customer_id)])
    for way in ("entity", "columns", "join", "alias", "sub-select"):
        look(town, ben, crossed, way)


# --- each layer disabled in turn


def test_reads_are_refused_without_the_loader_criteria(town: Cast, ben: Ben, scope: Scope, monkeypatch: pytest.MonkeyPatch) -> None:
    """Row-level security alone hides Ben's rows when the criteria and the engine check are both disabled."""
    if town.services.database.is_sqlite:
        pytest.skip("PostgreSQL only")
    monkeypatch.setattr(guard, "_criteria", lambda scope, arrays: ())
    monkeypatch.setattr(guard.Guard, "check_statement", lambda *_: None)
    with guard.raw_sql():
        for way in WAYS:
            look(town, ben, scope, way)


def test_row_level_security_stops_writes_without_the_guard(town: Cast, ben: Ben, scope: Scope, monkeypatch: pytest.MonkeyPatch) -> None:
    """The database alone refuses the changes."""
    if town.services.database.is_sqlite:
        pytest.skip("PostgreSQL only")
    for name in ("on_execute", "before_flush", "before_attach", "check_statement"):
        monkeypatch.setattr(guard.Guard, name, lambda *_: None)
    before = ben.rows()
    for way, act in CHANGES.items():
        session = town.services.database.session(scope, write=True)
        try:
            with guard.raw_sql():
                act(session, ben, scope)
                session.commit()
        except (*REFUSED, AssertionError):
            pass
        finally:
            session.rollback()
            session.close()
        assert ben.rows() == before, way


ORM_WAYS = (
    "entity",
    "one by id",
    "columns",
    "count of",
    "exists",
    "sub-select",
    "scalar sub-select",
    "sub-select in from",
    "common table",
    "union",
    "alias",
    "alias joined to itself",
    "join",
    "outer join",
    "cross join",
    "query",
    "get",
    "get fresh",
    "update returning",
)


@contextmanager
def no_policies(town: Cast) -> Any:
    """Disable row-level security as the owner of the tables."""
    import psycopg

    if town.services.database.is_sqlite:
        yield  # SQLite has none
        return
    owner = town.services.settings.database_owner_url.replace("+psycopg", "", 1)
    names = [name for name, kind in tables_by_kind().items() if kind != "open"]
    with psycopg.connect(owner, autocommit=True) as c:
        was = [n for (n,) in c.execute("SELECT relname FROM pg_class WHERE relrowsecurity").fetchall() if n in names]
        for name in was:
            c.execute(f"ALTER TABLE {name} DISABLE ROW LEVEL SECURITY")
        try:
            yield
        finally:
            for name in was:
                c.execute(f"ALTER TABLE {name} ENABLE ROW LEVEL SECURITY")


def test_the_guard_stops_reads_and_writes_without_row_level_security(town: Cast, ben: Ben, scope: Scope) -> None:
    """The guard alone is enough."""
    with no_policies(town):
        for way in WAYS:
            look(town, ben, scope, way)
        for way in CHANGES:
            change(town, ben, scope, way)


def test_the_guard_suffices_without_engine_checks_and_row_level_security(
    town: Cast, ben: Ben, scope: Scope, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The criteria alone hide Ben's rows from every ORM statement."""
    monkeypatch.setattr(guard.Guard, "check_statement", lambda *_: None)
    with no_policies(town):
        for way in ORM_WAYS:
            look(town, ben, scope, way)


# --- what the ways above are made of


def shown(found: Any) -> bytes:
    """Return everything that can be read from a result."""
    if isinstance(found, list | tuple):
        return b"\n".join(shown(item) for item in found)
    if hasattr(found, "_mapping"):
        return b"\n".join(shown(item) for item in found._mapping.values())
    if hasattr(found, "__table__"):
        return b"\n".join(repr(value).encode() for value in vars(found).values())
    return repr(found).encode()


def _words(error: BaseException) -> str:
    """Return the sentences of an error and of the database's error, without the parameters that the caller sent."""
    return str(error.orig) if isinstance(error, DBAPIError) else ("" if isinstance(error, InvalidRequestError) else str(error))


def _join_itself(db: Session) -> Any:
    item, two = aliased(Customer), aliased(Customer)
    return db.execute(select(item.email, two.email).join(two, item.business_id == two.business_id)).all()


def _schema(db: Session) -> str:
    return "main" if db.get_bind().dialect.name == "sqlite" else "public"


def _value(row: Any) -> Any:
    return row.customer_id, row.number


def _forged(ben: Ben, owner: Any) -> Invoice:
    """Return an object with the id of Ben's row and the owner of the caller."""
    pair = owner.pairs[-1] if getattr(owner, "pairs", ()) else (ben.business_id, "nobody")
    row = Invoice(business_id=ben.business_id, id=ben.invoice_id, customer_id=pair[1], total_minor=0)
    make_transient_to_detached(row)
    return row


def _refresh_made_up(db: Session, ben: Ben) -> Any:
    row = _forged(ben, db.scope)  # type: ignore[attr-defined]
    db.add(row)
    db.refresh(row)
    return row


def _change_made_up(db: Session, ben: Ben, owner: Any) -> None:
    row = _forged(ben, owner)
    db.add(row)
    row.total_minor = 1


def _adopt_expired(db: Session, ben: Ben) -> Any:
    row = ben.loaded()
    db.add(row)
    db.expire(row)
    return row.number, row.customer_id


def _row(ben: Ben) -> dict[str, Any]:
    return {
        "business_id": ben.business_id,
        "customer_id": "cus_new",
        "email": "new@hill.example",
        "email_key": "new@hill.example",
        "name": "New",
        "created_at": clock.now(),
        "billing": {},
        "meta": {},
    }


def _changed(row: Invoice) -> Invoice:
    row.description = "Taken"
    return row


def _claimed(row: Invoice, owner: Any) -> Invoice:
    """Return Ben's row, changed in memory to the caller's owner columns."""
    business_id, customer_id = owner.pairs[-1] if owner.pairs else (owner.business, row.customer_id)
    row.business_id, row.customer_id = business_id, customer_id
    return row


def _fresh_copy(row: Invoice) -> Invoice:
    make_transient(row)
    return row
