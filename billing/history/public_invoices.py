"""Find the business of a document for businesses with public document links (setting `invoice_links: open`)."""

from __future__ import annotations

from sqlalchemy import select

from billing.model.parties import Business
from billing.model.payments import Payment, Refund
from core.db import Database
from core.scope import everything


def open_business_of(database: Database, noun: str, id: str) -> str | None:
    """The business of this payment or refund if its links are public, else None."""
    model = Payment if noun == "payments" else Refund
    with database.open(everything(why="open invoice link")) as db:
        open_ids = list(db.scalars(select(Business.business_id).where(Business.settings["invoice_links"].as_string() == "open")))
        if not open_ids:
            return None
        return db.scalar(select(model.business_id).where(model.business_id.in_(open_ids), model.id == id))
