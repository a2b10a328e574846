"""Every API route with every kind of key. A new route fails here until it is classified."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select
from werkzeug.test import TestResponse

from billing.charging.refund import refund
from billing.model.licenses import LicenseInstance, LicenseKey
from core import clock
from core.ids import new_id
from core.scope import system
from core.settings import Settings
from tenants.api_keys import new_key
from tests.cast import Cast
from tests.house.test_route_access import catalogue_of, dispute_of

TABLE = Path(__file__).parent / "keys.txt"
"""One route a line: method, path, and `read` (any key of the business), `write` (not one that only reads) or `open` (none)."""
KINDS = {line.rsplit(" ", 1)[0]: line.rsplit(" ", 1)[1] for line in TABLE.read_text(encoding="utf-8").splitlines()}
QUERIES = {"/api/rights": "?country=DE"}
"""Routes that answer only with a query."""
FOUND_BY_BODY = {"/api/licenses/activate", "/api/licenses/deactivate", "/api/licenses/validate"}


@dataclass
class KeyedApi:
    app: Flask
    client: FlaskClient
    ids: dict[str, str]
    acorn: str
    acorn_reads: str
    birch: str

    def ask(self, route: str, key: str | None, ids: dict[str, str] | None = None) -> TestResponse:
        method, path = route.split(" ")
        for name, value in (self.ids | (ids or {})).items():
            path = path.replace(f"<{name}>", value)
        assert "<" not in path, f"{route}: give a real id of Birch's for this in the fixture"
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        return self.client.open(path + QUERIES.get(path, ""), method=method, headers=headers, **({} if method == "GET" else {"json": {}}))


@pytest.fixture(scope="module")
def counter(sqlite: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeyedApi]:
    """The cast, Acorn's keys, and ids of Birch's rows."""
    from wsgi import create_app

    urls, drop = sqlite.fresh()
    app = create_app(Settings(data_dir=tmp_path_factory.mktemp("keys"), base_url="http://localhost", **urls))
    app.testing = False
    services = app.extensions["portal"]
    with app.app_context():
        cast = Cast.play(services)
        ben = cast.ben
        back = refund(services.processor, system(cast.birch), ben.purchase_id, amount_minor=100, reason="a test")
        keys = []
        for business_id, reads in ((cast.acorn, False), (cast.acorn, True), (cast.birch, False)):
            with services.database.open(system(business_id), write=True) as db:
                keys.append(new_key(db, business_id, "A key", reads)[1])
    with services.database.open(system(cast.birch), write=True) as db:
        key_id = db.scalar(select(LicenseKey.id).where(LicenseKey.customer_id == ben.customer_id))
        place = LicenseInstance(
            business_id=cast.birch,
            customer_id=ben.customer_id,
            id=new_id("lki"),
            license_key_id=key_id,
            name="Ben's laptop",
            created_at=clock.now(),
        )
        db.add(place)
        ids = {"instance_id": place.id, "dispute_id": dispute_of(db, ben)}
    ids |= {
        "customer_id": ben.customer_id,
        "subscription_id": ben.subscription_id,
        "payment_id": ben.purchase_id,
        "refund_id": back.id,
        "key_id": key_id,
        "method_id": ben.method_id,
        "product_id": cast.products["birch.plan"],
        "brand_id": cast.birch,
        "business_id": cast.birch,
        "token": "not-a-token",
        "webhook_id": "whk_unknown",
        **catalogue_of(services, cast.birch),
    }
    yield KeyedApi(app, app.test_client(), ids, *keys)
    services.database.dispose()
    drop()


def test_every_route_is_in_the_table(counter: KeyedApi) -> None:
    rules = counter.app.url_map.iter_rules()
    now = {f"{method} {rule.rule}" for rule in rules if rule.endpoint.startswith("api.") for method in rule.methods - {"HEAD", "OPTIONS"}}
    assert now == set(KINDS), f"new: {sorted(now - set(KINDS))}; gone: {sorted(set(KINDS) - now)}"
    assert set(KINDS.values()) == {"read", "write", "open"} and len(KINDS) > 75


@pytest.mark.parametrize("route", [route for route, kind in KINDS.items() if kind != "open"])
def test_routes_that_need_a_key_refuse_other_callers(counter: KeyedApi, route: str) -> None:
    """No key, another mode's key or an unknown key: 401. A read-only key on a writing route: 403. Birch's ids with Acorn's key: 404."""
    for key in (None, counter.acorn.replace("dodo_test_", "dodo_live_"), "dodo_test_" + "x" * 43):
        answer = counter.ask(route, key)
        assert answer.status_code == 401 and answer.get_json()["code"] == "UNAUTHORIZED", f"{route} with {key}"
    reads = counter.ask(route, counter.acorn_reads)
    assert (reads.status_code == 403) == (KINDS[route] == "write"), f"{route} with a key that only reads: {reads.status_code}"
    if "<" in route:
        stranger = counter.ask(route, counter.acorn)
        assert stranger.status_code == 404, f"{route} with a stranger's ids: {stranger.status_code}"
        made_up = counter.ask(route, counter.acorn, dict.fromkeys(counter.ids, "nothing_of_this_name"))
        assert made_up.status_code == 404
        text = stranger.get_data(as_text=True)
        for value in counter.ids.values():
            text = text.replace(value, "nothing_of_this_name")
        assert text == made_up.get_data(as_text=True), "a stranger's id and one that nobody has get the same answer"


@pytest.mark.parametrize("route", [route for route, kind in KINDS.items() if kind == "open"])
def test_routes_without_a_key_are_open(counter: KeyedApi, route: str) -> None:
    """The route answers without a key, shows nothing of Birch, and a key that is sent anyway turns no refusal into an answer."""
    for key in (None, counter.acorn):
        answer = counter.ask(route, key)
        assert answer.status_code in ((404,) if "<" in route else (422,) if route.split(" ")[1] in FOUND_BY_BODY else (200,)), route
        assert "Ben" not in answer.get_data(as_text=True)


def test_the_owners_key_is_accepted(counter: KeyedApi) -> None:
    """Otherwise the tests above would pass on an empty deployment."""
    shut = {route: counter.ask(route, counter.birch).status_code for route, kind in KINDS.items() if kind == "read"}
    not_there = {"GET /api/payments/<payment_id>/retry", "GET /api/webhooks/<webhook_id>", "GET /api/webhooks/<webhook_id>/secret",
                 "GET /api/webhooks/<webhook_id>/headers"}  # fmt: skip
    assert {route for route, status in shut.items() if status != 200} <= not_there, shut
