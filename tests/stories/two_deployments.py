"""Two deployments over HTTP: the account where Ada is billed, and the portal that she uses. Each has a separate database."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flask import Flask
from sqlalchemy import func, select
from werkzeug.serving import make_server

from billing.customers.businesses import create_business
from billing.model.imported_records import SourceId
from billing.model.licenses import LicenseKey
from billing.model.parties import Customer, CustomerTotal
from billing.model.payments import Payment, Refund
from billing.model.subscriptions import Subscription
from core.scope import everything, system
from core.services import Services
from core.settings import Settings
from tenants.api_keys import new_key
from tenants.external.account import Reach, connect, origin_of
from tenants.external.dodo.client import client
from tenants.external.reader import AccountReader
from tenants.external.systems import SYSTEMS
from tests.cast import Cast
from tests.harness.http_proxy import HttpProxy, pipe


@contextmanager
def deployment(urls: dict[str, str], folder: Path) -> Iterator[Flask]:
    from wsgi import create_app

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder.mkdir(parents=True, exist_ok=True)
    app = create_app(Settings(data_dir=folder, base_url=f"http://127.0.0.1:{port}", outgoing_loopback=True, **urls))
    app.testing = False
    server = make_server("127.0.0.1", port, app, threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield app
    finally:
        server.shutdown()
        app.extensions["portal"].database.dispose()


@dataclass
class Two:
    """`account`: the deployment that bills; `cast` is there. `portal`: where Acorn's customers sign in. `wire` is the proxy between."""

    account: Flask
    portal: Flask
    cast: Cast
    wire: HttpProxy
    key: str
    business_id: str
    stops: int = 0  # how often the pull was killed before it came to its end

    @property
    def there(self) -> Services:
        return self.account.extensions["portal"]  # type: ignore[no-any-return]

    @property
    def here(self) -> Services:
        return self.portal.extensions["portal"]  # type: ignore[no-any-return]

    def business(self, name: str = "Acorn Notes") -> str:
        """Create another business at the portal, connected to the same account."""
        with self.here.database.open(everything("a business to pull into"), write=True) as db:
            made = create_business(
                db,
                name=name,
                currency="EUR",
                zone="Europe/London",
                support_email="help@acorn.example",
                settings={"plan_change": True, "pause": True},
            ).business_id
        with self.here.database.open(system(made), write=True) as db:
            connect(db, self.here.settings, made, "dodo", base_url=f"{self.wire.url}/api", api_key=self.key)
        return made

    def reader(self, business_id: str = "") -> AccountReader:
        api = client(self.here.outgoing, Reach(f"{self.wire.url}/api", self.key))
        found = business_id or self.business_id
        origin = origin_of(self.here.database, found, "dodo")
        assert origin is not None
        return AccountReader(self.here.database, self.here.settings, api, found, origin, SYSTEMS["dodo"])

    def our_id(self, reference: str) -> str:
        """Return the id here of a row of the account."""
        with self.here.database.open(system(self.business_id)) as db:
            return db.scalars(select(SourceId.row_id).where(SourceId.reference == reference)).one()

    def theirs(self, model: Any, id: str) -> Any:
        with self.there.database.open(system(self.cast.acorn)) as db:
            return db.scalar(select(model).where(model.id == id))

    def ours(self, model: Any, reference: str) -> Any:
        """Return the row here that has that id in the account."""
        with self.here.database.open(system(self.business_id)) as db:
            return db.scalar(select(model).where(model.id == self.our_id(reference)))

    def work(self) -> None:
        """Run both workers until nothing is left to do."""
        for app in (self.portal, self.account, self.portal):
            with app.app_context():
                for lanes in app.extensions["portal"].worker.lanes:
                    lanes._failed.clear()  # a test does not wait while a silent account is left alone
                app.extensions["portal"].worker.drain()
                app.extensions["webhooks"].drain()


def sums(services: Services, business_id: str) -> dict[str, Any]:
    """Return the rows and amounts that a pull must copy, by kind."""
    with services.database.open(system(business_id)) as db:
        count = {
            model.__tablename__: db.scalar(select(func.count()).select_from(model))
            for model in (Customer, Subscription, Refund, LicenseKey)
        }
        paid = db.execute(
            select(func.count(), func.sum(Payment.amount_minor), func.sum(Payment.refunded_minor)).where(
                Payment.status == "succeeded", Payment.amount_minor > 0
            )
        ).one()
        totals = db.execute(
            select(Customer.email, CustomerTotal.currency, CustomerTotal.paid_minor, CustomerTotal.refunded_minor).join(
                Customer, Customer.customer_id == CustomerTotal.customer_id
            )
        ).all()
        states = db.execute(
            select(Customer.email, Subscription.status, Subscription.unit_minor, Subscription.quantity).join(
                Customer, Customer.customer_id == Subscription.customer_id
            )
        ).all()
    return {**count, "paid": tuple(paid), "totals": sorted(map(tuple, totals)), "states": sorted(map(tuple, states))}


@contextmanager
def two_houses(sqlite: Any, folder: Path) -> Iterator[Two]:
    first, drop_first = sqlite.fresh()
    second, drop_second = sqlite.fresh()
    with deployment(first, folder / "account") as account, deployment(second, folder / "portal") as portal:
        with account.app_context():
            services = account.extensions["portal"]
            cast = Cast.play(services)
            with services.database.open(system(cast.acorn), write=True) as db:
                key = new_key(db, cast.acorn, "The portal", settings=services.settings)[1]
        with pipe(services.settings.base_url) as wire:
            made = Two(account, portal, cast, wire, key, "")
            made.business_id = made.business()
            yield made
    drop_first()
    drop_second()
