"""For people who lost track of which address they bought with: a licence key or an invoice number finds it, and the only
thing that ever happens is a letter to the address on file (safety 2.5: the same answer for everybody).

What was typed is sealed until the worker has looked it up, and gone afterwards.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.orm import Mapped, mapped_column

from auth import budgets, tokens
from auth.budgets import DAY, Limit
from auth.faces import Face, face_of
from billing.invoices import Invoice
from billing.licences import LicenseKey, match_key
from billing.parties import Business, Customer
from core import clock, ids
from core.db import Database
from core.mail import Letter, render_letter
from core.models import Base
from core.outbox import emit
from core.scope import everything
from core.secrets import Unreadable, seal, unseal
from core.settings import Settings
from core.web import House
from core.worker import Work

LONGEST = 200


class Recovery(Base):
    """Somebody typed what stands on their receipt."""

    __tablename__ = "recoveries"
    __open__ = "insert"

    id: Mapped[str] = mapped_column(primary_key=True)
    typed: Mapped[str]  # sealed
    business_id: Mapped[str | None]
    device: Mapped[str]
    created_at: Mapped[datetime]


def ask(database: Database, settings: Settings, typed: str, *, business_id: str | None, device: str, source: str | None) -> None:
    """Leave it to the worker. Nothing is looked up here."""
    if not budgets.spend(database, budgets.asks(settings, source)):
        return
    one = ids.new_id("rcv")
    with database.open(everything("somebody looks for their address"), write=True) as db:
        db.add(Recovery(id=one, typed=seal(settings.secret_keys, f"recovery, {one}", typed.strip()[:LONGEST]), business_id=business_id,
                        device=device, created_at=clock.wall()))
        emit(db, "auth.recovery_asked", noun=one, data={"recovery_id": one})


def register(house: House) -> None:
    house.handlers.on("auth.recovery_asked", lambda work: _answer(house, work), "auth.recovery")


def _answer(house: House, work: Work) -> None:
    with house.database.open(everything("a receipt finds its address"), write=True) as db:
        row = db.scalar(select(Recovery).where(Recovery.id == work.data["recovery_id"]))
        if row is None:
            return
        asked_at, device = row.created_at, row.device
        try:
            found = _found(db, unseal(house.settings.secret_keys, f"recovery, {row.id}", row.typed), row.business_id)
        except Unreadable:
            found = None
    if found is not None:
        _write(house, work, *found, asked_at, device)
    with house.database.open(everything("a receipt finds its address"), write=True) as db:
        gone = db.scalar(select(Recovery).where(Recovery.id == work.data["recovery_id"]))
        if gone is not None:
            db.delete(gone)


def _found(db, typed: str, business_id: str | None) -> tuple[Customer, Face] | None:  # type: ignore[no-untyped-def]
    """By licence key, or by invoice number. A number that several businesses use finds somebody at one business's door only."""
    for column in (LicenseKey.match_key, Invoice.number):
        rows = db.execute(_owners(column, typed, business_id)).all()
        if len(rows) == 1:
            return rows[0][0], face_of(rows[0][1])
    return None


def _owners(column: Any, typed: str, business_id: str | None) -> Select[Customer, Business]:
    """Select the customers whose receipt shows the typed number: two rows at most, found by the index of the column."""
    owner = column.class_
    wanted = {match_key(typed)} if owner is LicenseKey else {typed, typed.upper()}
    theirs = (owner.business_id == Customer.business_id) & (owner.customer_id == Customer.customer_id)
    query = (select(Customer, Business).join(owner, theirs)
             .join(Business, Business.business_id == Customer.business_id).where(column.in_(wanted)).limit(2))
    return query if business_id is None else query.where(Customer.business_id == business_id)


def _write(house: House, work: Work, customer: Customer, face: Face, asked_at: datetime, device: str) -> None:
    who = tokens.hashed(house.settings, "address", customer.email_key)[:32]
    if not budgets.spend(house.database, [Limit(f"recovery:{who}", 3, DAY)]):
        return
    is_known = customer.is_known  # a planted business's words stay out of letters (safety 3.2)
    subject, text, html = render_letter(
        "recovery", face.speaks(customer.locale), zone=face.zone, to=customer.email, brand=face.brand if is_known else None,
        sender=face.name if is_known else house.settings.name, business=face.name if is_known else "", device=device, asked_at=asked_at,
        url=f"{house.settings.base_url}/login",
    )
    house.mailer.send(Letter(customer.email, subject, text, html), f"{work.id}:recovery")
