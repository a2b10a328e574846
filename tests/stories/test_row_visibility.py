"""A browser sees exactly the rows of the addresses it may open, whatever people do with their addresses.

Random steps (add, merge, remove, change the main address, rename by a business, sign in) are compared with a small model.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from auth import account_merge, email_addresses, session_lifecycle, sessions
from auth.models import Challenge
from billing.customers.customers import create_customer, update_customer
from billing.model.parties import Customer
from core import clock
from core.ids import new_id, secret_token
from core.scope import everything, system
from core.settings import Settings
from tests.engines import Sqlite

ADDRESSES, BROWSERS, ROWS = 4, 3, 4
worlds = itertools.count()
Step = tuple[str, int, int]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["sign in", "add", "add", "remove", "main", "rename"]), st.integers(0, BROWSERS - 1), st.integers(0, ADDRESSES - 1)
    ),
    min_size=4,
    max_size=14,
)


@dataclass
class Model:
    """Address → person, person → main address, row → address, browser → (person, addresses it proved)."""

    owner: dict[int, int] = field(default_factory=dict)
    main: dict[int, int] = field(default_factory=dict)
    rows: dict[int, int] = field(default_factory=lambda: {n: n for n in range(ROWS)})
    signed: dict[int, tuple[int, set[int]]] = field(default_factory=dict)
    people: Any = field(default_factory=itertools.count)

    def of(self, person: int) -> set[int]:
        return {item for item, whose in self.owner.items() if whose == person}

    def opened(self, browser: int) -> set[int]:
        person, proved = self.signed.get(browser, (-1, set()))
        return self.of(person) if self.main.get(person) in proved else self.of(person) & proved

    def is_full(self, browser: int) -> bool:
        return browser in self.signed and bool(self.opened(browser)) and self.opened(browser) == self.of(self.signed[browser][0])

    def end(self, person: int, address: int | None = None) -> None:
        self.signed = {b: (p, proved) for b, (p, proved) in self.signed.items() if p != person or address not in {None, *proved}}

    def step(self, what: str, browser: int, address: int) -> None:
        if what == "sign in":
            if address not in self.owner:
                self.owner[address] = next(self.people)
                self.main[self.owner[address]] = address
            person, proved = self.signed.get(browser, (-1, set()))
            also = proved if person == self.owner[address] and self.opened(browser) else set()  # a browser keeps what it proved before
            self.signed[browser] = (self.owner[address], {address, *also})
        elif what == "rename":
            self.rows[browser] = address
        elif self.is_full(browser):
            person = self.signed[browser][0]
            other = self.owner.get(address)
            if what == "add" and other not in (None, person):
                if self.main[other] == address:
                    self.end(other)
                    self.owner |= dict.fromkeys(self.of(other), person)
                else:
                    self.end(other, address)
                    self.owner[address] = person
            elif what == "add":
                self.owner[address] = person
            elif what == "remove" and other == person and self.main[person] != address:
                self.end(person, address)
                del self.owner[address]
            elif what == "main" and other == person:
                self.main[person] = address
                self.signed[browser][1].add(address)


@dataclass
class World:
    """The same steps in the real application."""

    app: Any
    services: Any
    businesses: list[str]
    name: int
    secrets: dict[int, str] = field(default_factory=dict)
    customers: dict[int, tuple[str, str]] = field(default_factory=dict)

    def address(self, n: int) -> str:
        return f"a{n}@world{self.name}.example"

    def settle(self) -> None:
        for n in range(ROWS):
            business = self.businesses[n % len(self.businesses)]
            with self.services.database.open(system(business), write=True) as db:
                row = create_customer(db, business, email=self.address(n), name=f"Row {n}")
                row.accepted_at = clock.now()
                self.customers[n] = (business, row.customer_id)

    def visit(self, browser: int) -> sessions.Visit | None:
        secret = self.secrets.get(browser)
        return sessions.load(self.services.database, self.services.settings, secret) if secret else None

    def proof(self, address: int, purpose: str, identity_id: str | None) -> Challenge:
        """Open the emailed link in the browser that requested it."""
        at, email = clock.wall(), self.address(address)
        with self.services.database.open(everything("a letter of a test"), write=True) as db:
            challenge = Challenge(
                id=new_id("chl"),
                purpose=purpose,
                browser_hash=secret_token(),
                identity_id=identity_id,
                address_key=email,
                email=email,
                door="unified",
                business_id=None,
                link_hash=secret_token(),
                code_hash="",
                device="",
                locale="en",
                next="/",
                joins=None,
                created_at=at,
                expires_at=at + timedelta(minutes=10),
                used_at=None,
                revoked_at=None,
            )
            db.add(challenge)
        return challenge

    def step(self, what: str, browser: int, address: int) -> None:
        database, visit, email = self.services.database, self.visit(browser), self.address(address)
        if what == "sign in":
            secret = session_lifecycle.sign_in(database, self.services.settings, self.proof(address, "sign_in", None), visit, "a browser")
            self.secrets[browser] = str(secret)
        elif what == "rename":
            business, customer = self.customers[browser]
            with database.open(system(business), write=True) as db:
                update_customer(db, db.scalars(select(Customer).where(Customer.customer_id == customer)).one(), email=email)
        elif visit is not None and visit.is_person and len(visit.addresses) == len(visit.emails):
            known = {key: is_primary for _, key, is_primary in visit.emails}
            if what == "add":
                merge_id = email_addresses.add(
                    database, self.services.settings, self.proof(address, "add_address", visit.identity_id), visit
                )
                if merge_id and account_merge.view(database, visit, merge_id).is_main:
                    assert account_merge.agree(database, visit, merge_id)
                elif merge_id:
                    email_addresses.take(database, visit, merge_id)
            elif what == "remove" and known.get(email) is False:
                email_addresses.remove(database, visit, email)
            elif what == "main" and email in known:
                email_addresses.make_primary(database, visit, email)

    def seen(self, browser: int) -> set[int]:
        visit = self.visit(browser)
        if visit is None or not visit.is_person:
            return set()
        pairs = set(sessions.scope_for_unified(visit).pairs)
        return {n for n, pair in self.customers.items() if pair in pairs} | {-1 for pair in pairs if pair not in self.customers.values()}


@pytest.fixture(scope="module")
def new_world(sqlite: Sqlite, tmp_path_factory: pytest.TempPathFactory) -> Any:
    from billing.customers.businesses import create_business
    from wsgi import create_app

    urls, drop = sqlite.fresh()
    app = create_app(Settings(data_dir=tmp_path_factory.mktemp("worlds"), base_url="http://localhost", **urls))
    services = app.extensions["portal"]
    with services.database.open(everything("two businesses"), write=True) as db:
        businesses = [create_business(db, name=name, currency="EUR").business_id for name in ("Acorn", "Birch")]

    def make() -> World:
        world = World(app, services, businesses, next(worlds))
        world.settle()
        return world

    yield make
    services.database.dispose()
    drop()


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@example(steps=[("sign in", 0, 0), ("add", 0, 1), ("sign in", 1, 1), ("remove", 0, 1), ("add", 0, 1)])  # a session must not come back
@example(steps=[("sign in", 0, 0), ("sign in", 1, 1), ("add", 1, 2), ("add", 0, 1), ("remove", 0, 2), ("sign in", 2, 2), ("remove", 0, 1)])
@example(steps=[("sign in", 0, 0), ("add", 0, 1), ("sign in", 0, 1), ("sign in", 1, 1)])
@given(steps=STEPS)
def test_a_browser_sees_exactly_the_rows_of_its_addresses(new_world: Callable[[], World], steps: list[Step]) -> None:
    world, model = new_world(), Model()
    with world.app.app_context():
        for number, step in enumerate(steps):
            world.step(*step)
            model.step(*step)
            for browser in range(BROWSERS):
                expected = {row for row, address in model.rows.items() if address in model.opened(browser)}
                assert world.seen(browser) == expected, (number, step, browser)
