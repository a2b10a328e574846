"""A business wrote another address into a customer's row: what was mailed to the one before opens nothing any more. Where both
are one person's, they stay known there (safety 3.2)."""

from __future__ import annotations

from sqlalchemy import select

from auth import links
from auth.models import IdentityEmail
from billing import knowing
from billing.parties import Customer
from core.outbox import written_at
from core.scope import everything
from core.web import House
from core.worker import Work


def register(house: House) -> None:
    house.handlers.on("customer.email_changed", lambda work: follow(house, work), "auth.following")


def follow(house: House, work: Work) -> None:
    """Both addresses are proved ones of one account by now; the new one alone says nothing."""
    with house.database.open(everything("is a changed address the same person's"), write=True) as db:
        row = db.scalar(select(Customer).where(
            Customer.business_id == work.business_id, Customer.customer_id == work.customer_id).with_for_update())
        if row is not None:
            links.revoke_mailed(db, row.business_id, row.customer_id, before=written_at(work.id))
        if row is None or row.is_known or row.known_key is None:
            return
        holders = list(db.scalars(select(IdentityEmail.identity_id).where(IdentityEmail.email_key.in_([row.known_key, row.email_key]))))
        if len(holders) == 2 and len(set(holders)) == 1:
            knowing.same_person(row)
