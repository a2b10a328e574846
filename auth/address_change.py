"""Handle a business's change of a customer's email address: links mailed to the old address are revoked.

If both addresses belong to the same person, the business stays recognized (safety 3.2).
"""

from __future__ import annotations

from sqlalchemy import select

from auth import portal_links
from auth.models import IdentityEmail
from billing.charging import recognition
from billing.model.parties import Customer
from core.outbox import written_at
from core.outbox_claims import Work
from core.scope import everything
from core.services import Services


def register(services: Services) -> None:
    services.handlers.on("customer.email_changed", lambda work: follow(services, work), "auth.following")


def follow(services: Services, work: Work) -> None:
    """Revoke mailed links. Keep the recognition only if one account has proved both addresses."""
    with services.database.open(everything("follow a changed address"), write=True) as db:
        row = db.scalar(
            select(Customer).where(Customer.business_id == work.business_id, Customer.customer_id == work.customer_id).with_for_update()
        )
        if row is not None:
            portal_links.revoke_mailed(db, row.business_id, row.customer_id, before=written_at(work.id))
        if row is None or row.is_recognized or row.recognized_key is None:
            return
        holders = list(
            db.scalars(select(IdentityEmail.identity_id).where(IdentityEmail.email_key.in_([row.recognized_key, row.email_key])))
        )
        if len(holders) == 2 and len(set(holders)) == 1:
            recognition.recognize_address(row)
