"""Find a forgotten email address by license key or invoice number. The only effect is an email to the address on file.

The page responds the same to everybody (safety 2.5). The typed text is stored encrypted until the worker has looked it up, and
is then deleted.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.orm import Mapped, mapped_column

from auth import rate_limits, tokens
from auth.rate_limits import DAY, Limit
from billing.model.business_profile import BusinessProfile, profile_of
from billing.model.invoices import Invoice
from billing.model.licenses import LicenseKey, match_key
from billing.model.parties import Business, Customer
from core import clock, email_log, ids
from core.db import Database
from core.encryption import Unreadable, seal, unseal
from core.mail import EmailMessage, render_email
from core.models import Base
from core.outbox import emit
from core.outbox_claims import Work
from core.scope import everything
from core.services import Services
from core.settings import Settings

LONGEST = 200


class Recovery(Base):
    """A request to find the address of a license key or invoice number."""

    __tablename__ = "recoveries"
    __open__ = "insert"

    id: Mapped[str] = mapped_column(primary_key=True)
    typed: Mapped[str]  # sealed
    business_id: Mapped[str | None]
    device: Mapped[str]
    created_at: Mapped[datetime]


def request_recovery(
    database: Database, settings: Settings, typed: str, *, business_id: str | None, device: str, source: str | None
) -> None:
    """Queue the request for the worker. Nothing is looked up here."""
    if not rate_limits.spend(database, rate_limits.sign_in_requests(settings, source)):
        return
    item = ids.new_id("rcv")
    with database.open(everything("request address recovery"), write=True) as db:
        db.add(
            Recovery(
                id=item,
                typed=seal(settings.secret_keys, f"recovery, {item}", typed.strip()[:LONGEST]),
                business_id=business_id,
                device=device,
                created_at=clock.wall(),
            )
        )
        emit(db, "auth.recovery_requested", noun=item, data={"recovery_id": item})


def register(services: Services) -> None:
    services.handlers.on("auth.recovery_requested", lambda work: _answer(services, work), "auth.recovery", sends=True)


def _answer(services: Services, work: Work) -> None:
    with services.database.open(everything("recover an address"), write=True) as db:
        row = db.scalar(select(Recovery).where(Recovery.id == work.data["recovery_id"]))
        if row is None:
            return
        asked_at, device = row.created_at, row.device
        try:
            found = _found(db, unseal(services.settings.secret_keys, f"recovery, {row.id}", row.typed), row.business_id)
        except Unreadable:
            found = None
    if found is not None:
        _write(services, work, *found, asked_at, device)
    with services.database.open(everything("recover an address"), write=True) as db:
        gone = db.scalar(select(Recovery).where(Recovery.id == work.data["recovery_id"]))
        if gone is not None:
            db.delete(gone)


def _found(db, typed: str, business_id: str | None) -> tuple[Customer, BusinessProfile] | None:  # type: ignore[no-untyped-def]
    """Find the customer by license key, then by invoice number. An ambiguous number is found only on a business's own page."""
    for column in (LicenseKey.match_key, Invoice.number):
        rows = db.execute(_owners(column, typed, business_id)).all()
        if len(rows) == 1:
            return rows[0][0], profile_of(rows[0][1])
    return None


def _owners(column: Any, typed: str, business_id: str | None) -> Select[Customer, Business]:
    """Select customers by the typed number: at most two rows, using the column's index."""
    owner = column.class_
    wanted = {match_key(typed)} if owner is LicenseKey else {typed, typed.upper()}
    theirs = (owner.business_id == Customer.business_id) & (owner.customer_id == Customer.customer_id)
    query = (
        select(Customer, Business)
        .join(owner, theirs)
        .join(Business, Business.business_id == Customer.business_id)
        .where(column.in_(wanted))
        .limit(2)
    )
    return query if business_id is None else query.where(Customer.business_id == business_id)


def _write(services: Services, work: Work, customer: Customer, profile: BusinessProfile, asked_at: datetime, device: str) -> None:
    who = tokens.hashed(services.settings, "address", customer.email_key)[:32]
    if not rate_limits.spend_for(services.database, work.id, [Limit(f"recovery:{who}", 3, DAY)]):
        email_log.withhold(services.database, services.settings, work, customer.email, "limit")
        return
    is_known = customer.is_recognized  # text of an unaccepted business stays out of emails (safety 3.2)
    subject, text, html = render_email(
        "recovery",
        profile.language_for(customer.locale),
        zone=profile.zone,
        to=customer.email,
        brand=profile.brand if is_known else None,
        sender=profile.name if is_known else services.settings.name,
        business=profile.name if is_known else "",
        device=device,
        asked_at=asked_at,
        url=f"{services.settings.base_url}/login",
    )
    services.mailer.send(EmailMessage(customer.email, subject, text, html), f"{work.id}:recovery")
