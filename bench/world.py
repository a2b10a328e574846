"""The deployment that is measured: Ada with 60 subscriptions at 20 businesses, and Wim with 100,000 invoices at one business."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from flask import Flask
from sqlalchemy.engine import make_url

import unified
from billing.catalogue.products import create_product
from billing.customers.businesses import create_business
from billing.customers.customers import create_customer
from billing.subscriptions.subscribe import subscribe
from core import request_context
from core.models import Base
from core.scope import everything, system
from core.settings import Settings
from tests.cast import MONTHLY, Buyer, Cast
from tests.visitor import Visitor
from wsgi import create_app

BUSINESSES, EACH, INVOICES = 20, 3, 100_000
WIM = "wim@deep.example"


@dataclass
class Bench:
    app: Flask
    raw: Any  # a driver connection as the tables' owner, without scope and row-level security
    ada: str  # Cookie headers
    wim: str
    wims: Buyer

    @property
    def is_sqlite(self) -> bool:
        return isinstance(self.raw, sqlite3.Connection)


def build(engine: Any, folder: Path, invoices: int = INVOICES) -> Bench:
    urls, _drop = engine.fresh()
    settings = Settings(data_dir=folder, base_url="http://localhost", log_level="ERROR", **urls)
    app = create_app(settings)
    app.add_url_rule("/bench/nothing", view_func=nothing)
    with app.app_context():
        cast = Cast.play(app.extensions["portal"])
        _grow(cast)
        wims = cast.buyer("birch", WIM, "Wim Deep")
    raw = _connect(settings)
    load_invoices(raw, wims, invoices)
    return Bench(app, raw, _cookie(app, cast.ADA), _cookie(app, WIM), wims)


def nothing() -> Any:
    """The no-op view: it checks the sign-in and opens a session."""
    refused = unified.open_the_door()
    if refused is None:
        request_context.db()
    return refused or ""


def _grow(cast: Cast) -> None:
    services = cast.services
    for n in range(BUSINESSES - 2):  # Acorn and Birch exist, with one subscription each
        with services.database.open(everything("create a business for the benchmark"), write=True) as db:
            business_id = create_business(db, name=f"Shop {n}", currency="EUR", brand={"accent": "#0b5563"}).business_id
        with services.database.open(system(business_id), write=True) as db:
            product_id = create_product(db, business_id, name=f"Plan {n}", price=MONTHLY).id
            customer_id = create_customer(db, business_id, email=cast.ADA, name="Ada Marlow").customer_id
        method_id = cast.card(Buyer(business_id, customer_id, cast.ADA))
        for _ in range(EACH if n < BUSINESSES - 4 else EACH + 2):
            subscribe(services.processor, system(business_id), customer_id=customer_id, product_id=product_id, payment_method_id=method_id)


def load_invoices(raw: Any, whose: Buyer, count: int) -> None:
    """Insert `count` copies of a paid invoice and its payment, an hour apart, directly into the tables."""
    for table, moment in (("invoices", "issued_at"), ("payments", "created_at")):
        changed = {
            "id": f"'{table[:3]}_' || n",
            "number": "'W-' || n",
            "operation": "'w:' || n",
            "key": "'w/' || n",
            "invoice_id": "'inv_' || n",
            moment: _earlier(raw, moment),
        }
        names = [column.name for column in Base.metadata.tables[table].columns]
        values = ", ".join(changed.get(name, f"t.{name}") for name in names)
        source = f"(SELECT * FROM {table} WHERE customer_id = '{whose.customer_id}' AND subscription_id IS NULL) t"
        raw.execute(f"INSERT INTO {table} ({', '.join(names)}) SELECT {values} FROM {source}, {_series(raw, count)}")
    raw.commit()
    if not isinstance(raw, sqlite3.Connection):  # PostgreSQL analyzes by itself in time; nothing analyzes on SQLite
        raw.execute("ANALYZE")
        raw.commit()


def _earlier(raw: Any, column: str) -> str:
    if isinstance(raw, sqlite3.Connection):
        return f"strftime('%Y-%m-%dT%H:%M:%f000Z', t.{column}, '-' || n || ' hours')"
    return f"t.{column} - n * interval '1 hour'"


def _series(raw: Any, count: int) -> str:
    if isinstance(raw, sqlite3.Connection):
        return f"(WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < {count}) SELECT n FROM s)"
    return f"generate_series(1, {count}) n"


def _connect(settings: Settings) -> Any:
    url = make_url(settings.owner_url)
    if url.get_backend_name() == "sqlite":
        return sqlite3.connect(str(url.database))
    return psycopg.connect(url.set(drivername="postgresql").render_as_string(hide_password=False))


def _cookie(app: Flask, email: str) -> str:
    visitor = Visitor(app)
    visitor.sign_in(email)
    answer = visitor.client.get("/", headers=visitor.headers)
    assert answer.status_code == 200, answer.status
    return str(answer.request.headers["Cookie"])
