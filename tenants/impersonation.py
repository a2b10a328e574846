"""Impersonation sessions: which member of staff views the portal as which customer, why, and until when. The customer sees them."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import ForeignKeyConstraint, Index, select
from sqlalchemy.orm import Mapped

from billing.model.parties import Customer
from core import clock
from core.db import Database, ScopedSession
from core.errors import N_, Invalid, NotFound
from core.ids import new_id
from core.models import Base, BusinessOwned, within_business
from core.outbox import emit
from core.scope import staff

LIFE = timedelta(minutes=30)
LONGEST = 200


class ImpersonationSession(Base, BusinessOwned):
    """An impersonation session, bound to the browser session that started it."""

    __tablename__ = "impersonation_sessions"
    __table_args__ = (
        ForeignKeyConstraint(["business_id", "customer_id"], ["customers.business_id", "customers.customer_id"]),
        within_business("membership_id", "memberships"),
        Index("ix_impersonation_sessions_customer", "business_id", "customer_id", "started_at"),
    )

    customer_id: Mapped[str]
    membership_id: Mapped[str]
    session_id: Mapped[str]
    reason: Mapped[str]
    started_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]


def begin(db: ScopedSession, customer_id: str, reason: str, *, membership_id: str, session_id: str) -> ImpersonationSession:
    """Start a session. It is shown in the customer's activity. Raises NotFound (customer) or Invalid (field reason)."""
    customer = db.scalar(select(Customer).where(Customer.customer_id == customer_id))
    if customer is None:
        raise NotFound("CUSTOMER_NOT_FOUND", N_("There is no such customer."))
    reason = " ".join(reason.split())
    if not 5 <= len(reason) <= LONGEST:
        raise Invalid(fields={"reason": N_("Enter a reason of 5 to 200 characters. The customer can read it.")})
    at = clock.wall()
    row = ImpersonationSession(
        business_id=customer.business_id,
        id=new_id("cvw"),
        customer_id=customer_id,
        membership_id=membership_id,
        session_id=session_id,
        reason=reason,
        started_at=at,
        expires_at=at + LIFE,
    )
    db.add(row)
    db.flush()
    emit(
        db,
        "customer.viewed",
        business_id=row.business_id,
        customer_id=customer_id,
        noun=row.id,
        data={"reason": reason, "until": row.expires_at.isoformat()},
    )
    return row


def running(database: Database, business_id: str, view_id: str, *, membership_id: str, session_id: str) -> ImpersonationSession | None:
    """Return the session if it belongs to this member and browser session and has not ended."""
    with database.open(staff(business_id, membership_id)) as db:
        return db.scalar(
            select(ImpersonationSession).where(
                ImpersonationSession.id == view_id,
                ImpersonationSession.membership_id == membership_id,
                ImpersonationSession.session_id == session_id,
                ImpersonationSession.ended_at.is_(None),
                ImpersonationSession.expires_at > clock.wall(),
            )
        )


def end(db: ScopedSession, customer_id: str, view_id: str, *, membership_id: str) -> ImpersonationSession:
    """End a session. Idempotent. Raises NotFound for another member's session."""
    row = db.scalar(
        select(ImpersonationSession).where(
            ImpersonationSession.id == view_id,
            ImpersonationSession.customer_id == customer_id,
            ImpersonationSession.membership_id == membership_id,
        )
    )
    if row is None:
        raise NotFound()
    row.ended_at = row.ended_at or clock.wall()
    return row
