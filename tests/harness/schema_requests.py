"""API requests generated from the API's own description, for a deployment with data, and checks of the answers against it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import schemathesis
from flask import Flask
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from sqlalchemy import select

from billing.model.licenses import LicenseKey
from core.scope import system
from core.settings import Settings
from tenants.api_keys import new_key
from tests.cast import Cast
from tests.house.test_route_access import catalogue_of

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_headers_conformance, response_schema_conformance]
"""No 5xx, no status that is not described, no answer off its shape. Whether bad input is refused is for the other tests."""


@dataclass
class World:
    """Acorn's API with Acorn's rows: `ids` by the names that paths and bodies use."""

    app: Flask
    key: str
    ids: dict[str, str]
    chance: random.Random = field(default_factory=lambda: random.Random(4711))

    @property
    def schema(self) -> Any:
        return schemathesis.openapi.from_wsgi("/api/openapi.json", self.app)

    @property
    def auth(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}

    def fill(self, case: Any) -> None:
        """Replace half of the generated ids with real ones, because a 404 tests little."""
        for name in case.path_parameters or {}:
            if name in self.ids and self.chance.random() < 0.7:
                case.path_parameters[name] = self.ids[name]
        if isinstance(case.body, (dict, list)):
            self._fill(case.body)

    def _fill(self, value: Any) -> None:
        for name, item in list(value.items()) if isinstance(value, dict) else enumerate(value):
            if isinstance(item, (dict, list)):
                self._fill(item)
            elif isinstance(value, dict) and name in self.ids and isinstance(item, str) and self.chance.random() < 0.7:
                value[name] = self.ids[name]


NASTY: list[Any] = [
    None, True, "", " ", 0, -1, 1, 2**31, 2**63, -(2**63) - 1, 1.5, 1e308, [], {}, [None], {"a": 1}, "x" * 300, "a\x00b",
    "\u202e\U0001f9ff", "2026-02-30T00:00:00Z", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00+14:00", "%00", "../..", "' OR 1=1 --",
    "{{7*7}}", "EUR", "XXX", "DE",
]  # fmt: skip


def twist(case: Any, chance: random.Random) -> None:
    """Change one value of the body or of the query of a request."""
    places = list(_places(case.body)) if isinstance(case.body, (dict, list)) else []
    if case.query and (not places or chance.random() < 0.3):
        case.query[chance.choice(list(case.query))] = str(chance.choice(NASTY))
    elif places:
        where, name = chance.choice(places)
        if chance.random() < 0.15 and isinstance(where, dict):
            del where[name]
        else:
            where[name] = deepcopy(chance.choice(NASTY))


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    for name, item in list(value.items()) if isinstance(value, dict) else enumerate(value):
        yield value, name
        if isinstance(item, (dict, list)):
            yield from _places(item)


@contextmanager
def world(urls: dict[str, str], folder: Path) -> Iterator[World]:
    """A deployment on a new database with the cast and without rate limits."""
    from wsgi import create_app

    app = create_app(Settings(data_dir=folder, base_url="http://localhost", api_rate=0, log_level="CRITICAL", **urls))
    app.testing = False
    services = app.extensions["portal"]
    with app.app_context():
        cast = Cast.play(services)
        with services.database.open(system(cast.acorn), write=True) as db:
            key = new_key(db, cast.acorn, "A key")[1]
    with services.database.open(system(cast.acorn)) as db:
        license_key = db.scalars(select(LicenseKey)).first()
        assert license_key is not None
        ids = {"key_id": license_key.id, "license_key": license_key.key}
    ada = cast.ada_at_acorn
    ids |= {
        "customer_id": ada.customer_id,
        "subscription_id": ada.subscription_id,
        "payment_id": ada.purchase_id,
        "brand_id": cast.acorn,
        "method_id": ada.method_id,
        "payment_method_id": ada.method_id,
        "business_id": cast.acorn,
        **catalogue_of(services, cast.acorn),
    }
    ids["product_id"], ids["discount_code"] = cast.products["acorn.plan"], ids["code"]
    try:
        yield World(app, key, ids)
    finally:
        services.database.dispose()
