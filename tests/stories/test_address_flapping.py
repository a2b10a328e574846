"""A mirrored customer's address: a real change is an event, a repeated value is none, and changes back and forth are limited."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import select

from billing import imports
from billing.model.parties import Customer
from billing.model.provenance import Origin
from core import clock
from core.outbox import Event
from core.scope import system
from tenants.imports.shapes import record
from tests.cast import Cast

MIRROR = Origin("acc_mirror", "elsewhere", True)


def told(cast: Cast, email: str, origin: Origin = MIRROR) -> str:
    """Receive the customer from the account. Returns the address stored here afterwards."""
    with cast.services.database.open(system(cast.acorn), write=True) as db:
        imports.load(db, origin, [record("customer", {"customer_id": "cus_1", "email": email, "name": "Ada"})], renew=True)
    with cast.services.database.open(system(cast.acorn)) as db:
        return db.scalars(select(Customer.email).where(Customer.account_id == origin.account_id)).one()


def changes(cast: Cast) -> int:
    with cast.services.database.open(system(cast.acorn)) as db:
        return len(db.scalars(select(Event.id).where(Event.type == "customer.email_changed")).all())


def test_an_address_that_flips_is_changed_twice_a_day_at_most(cast: Cast) -> None:
    told(cast, "one@people.example")
    assert told(cast, "two@people.example") == "two@people.example"
    assert told(cast, "one@people.example") == "one@people.example"
    for email in ("two@people.example", "one@people.example") * 5 + ("two@people.example",):
        assert told(cast, email) == "one@people.example"
    assert changes(cast) == 2
    clock.turn(timedelta(days=1, minutes=1))
    assert told(cast, "two@people.example") == "two@people.example", "the same word as before, read anew"
    assert changes(cast) == 3


def test_only_a_real_change_of_an_address_is_an_event(cast: Cast) -> None:
    told(cast, "one@people.example")
    for email in ("one@people.example", "ONE@people.example", "One@People.Example"):
        told(cast, email)
    assert changes(cast) == 0


def test_imports_of_files_change_addresses_without_limit(cast: Cast) -> None:
    file = Origin.of_file("crm")
    for email in ("one@people.example", "two@people.example", "three@people.example", "four@people.example"):
        assert told(cast, email, file) == email
    assert changes(cast) == 3
