"""Looking at the portal as a customer sees it: which member of staff, whom, why and until when. Told to the customer."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import ForeignKeyConstraint, Index, select
from sqlalchemy.orm import Mapped

from billing.parties import Customer
from core import clock
from core.db import Database, ScopedSession
from core.errors import Invalid, NotFound
from core.ids import new_id
from core.models import Base, BusinessOwned, within_business
from core.outbox import emit
from core.scope import staff

LIFE = timedelta(minutes=30)
LONGEST = 200


class CustomerView(Base, BusinessOwned):
    """One look, bound to the browser session that began it."""

    __tablename__ = "customer_views"
    __table_args__ = (
        ForeignKeyConstraint(["business_id", "customer_id"], ["customers.business_id", "customers.customer_id"]),
        within_business("membership_id", "memberships"),
        Index("ix_customer_views_customer", "business_id", "customer_id", "started_at"),
    )

    customer_id: Mapped[str]
    membership_id: Mapped[str]
    session_id: Mapped[str]
    reason: Mapped[str]
    started_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]


def begin(db: ScopedSession, customer_id: str, reason: str, *, membership_id: str, session_id: str) -> CustomerView:
    """Raises NotFound (customer), Invalid (field reason). The customer reads of it in their activity."""
    customer = db.scalar(select(Customer).where(Customer.customer_id == customer_id))
    if customer is None:
        raise NotFound("CUSTOMER_NOT_FOUND", "There is no such customer.")
    reason = " ".join(reason.split())
    if not 5 <= len(reason) <= LONGEST:
        raise Invalid(fields={"reason": "Say in a few words why you look, 5 to 200 characters. The customer can read it."})
    at = clock.wall()
    row = CustomerView(business_id=customer.business_id, id=new_id("cvw"), customer_id=customer_id, membership_id=membership_id,
                       session_id=session_id, reason=reason, started_at=at, expires_at=at + LIFE)
    db.add(row)
    db.flush()
    emit(db, "customer.viewed", business_id=row.business_id, customer_id=customer_id, noun=row.id,
         data={"reason": reason, "until": row.expires_at.isoformat()})
    return row


def running(database: Database, business_id: str, view_id: str, *, membership_id: str, session_id: str) -> CustomerView | None:
    """The look, if it is this member's, of this browser, and not over."""
    with database.open(staff(business_id, membership_id)) as db:
        return db.scalar(select(CustomerView).where(
            CustomerView.id == view_id, CustomerView.membership_id == membership_id, CustomerView.session_id == session_id,
            CustomerView.ended_at.is_(None), CustomerView.expires_at > clock.wall()))


def end(db: ScopedSession, customer_id: str, view_id: str, *, membership_id: str) -> CustomerView:
    """Stop looking. Raises NotFound for somebody else's look; one that is over stays over."""
    row = db.scalar(select(CustomerView).where(
        CustomerView.id == view_id, CustomerView.customer_id == customer_id, CustomerView.membership_id == membership_id))
    if row is None:
        raise NotFound()
    row.ended_at = row.ended_at or clock.wall()
    return row
