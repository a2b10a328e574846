"""The team of a business: memberships and open invitations.

A membership is found by the identity of the visit or by one of its verified addresses. It therefore follows an address that moved to
another account of the same person. It is read on every request.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Index, UniqueConstraint, or_, select, update
from sqlalchemy.orm import Mapped, aliased, mapped_column

from auth.models import IdentityEmail
from auth.sessions import Visit
from billing.model.business_profile import BusinessProfile, profile_of
from billing.model.parties import Business
from core import clock
from core.db import Database, ScopedSession
from core.models import Base, BusinessOwned
from core.scope import everything
from tenants.roles import ROLES, may

INVITATION_LIFE = timedelta(days=7)


class Membership(Base, BusinessOwned):
    """A member of a business's team. Kept after they leave, because the activity shows their name."""

    __tablename__ = "memberships"
    __table_args__ = (
        UniqueConstraint("business_id", "identity_id"),
        Index("ix_memberships_identity", "identity_id"),
        Index("ix_memberships_email_key", "email_key"),
    )

    identity_id: Mapped[str]
    email: Mapped[str]
    email_key: Mapped[str]
    name: Mapped[str] = mapped_column(default="")
    role: Mapped[str]
    created_at: Mapped[datetime]
    removed_at: Mapped[datetime | None]


class Invitation(Base, BusinessOwned):
    """An invitation to the team. Only a person who verified the address can accept it."""

    __tablename__ = "invitations"
    __table_args__ = (Index("ix_invitations_email_key", "email_key"),)

    email: Mapped[str]
    email_key: Mapped[str]
    role: Mapped[str]
    invited_by: Mapped[str | None]  # membership; null for an operator
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    accepted_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]


@dataclass(frozen=True)
class Member:
    """A membership of this visit with the profile of the business."""

    id: str
    business_id: str
    role: str
    email: str
    profile: BusinessProfile
    currency: str

    def may(self, verb: str) -> bool:
        return may(self.role, verb)


@dataclass(frozen=True)
class OpenInvitation:
    """An invitation that can be accepted."""

    id: str
    business_id: str
    business_name: str
    role: str
    email: str


def member(database: Database, visit: Visit, business_id: str) -> Member | None:
    """Return the membership of this visit at a business, or None. Sessions from a merchant's link do not count."""
    found = memberships(database, visit, business_id)
    return found[0] if found else None


def memberships(database: Database, visit: Visit, business_id: str | None = None) -> list[Member]:
    """Return the memberships of this visit by name of the business.

    A session that only verified a secondary address has only the memberships of that address (safety 2.2).
    """
    if visit.identity_id is None or not visit.addresses:
        return []
    whose: ColumnElement[bool] = Membership.email_key.in_(visit.addresses)
    if len(visit.addresses) == len(visit.emails):
        whose = or_(Membership.identity_id == visit.identity_id, whose)
    query = (
        select(Membership, Business)
        .join(Business, Business.business_id == Membership.business_id)
        .where(whose, Membership.removed_at.is_(None))
        .order_by(Business.name, Business.business_id)
    )
    if business_id is not None:
        query = query.where(Membership.business_id == business_id)
    with database.open(everything("whose staff is this")) as db:
        rows = db.execute(query).all()
    widest = list(ROLES)  # merged accounts may have two memberships: the wider role counts, then the own row
    own = sorted(rows, key=lambda row: (widest.index(row[0].role), row[0].identity_id != visit.identity_id))
    found = {m.business_id: Member(m.id, m.business_id, m.role, m.email, profile_of(b), b.currency) for m, b in reversed(own)}
    return [found[business_id] for business_id in dict.fromkeys(b.business_id for _, b in rows)]


def follow(database: Database, old_id: str, new_id: str) -> None:
    """Move memberships after two accounts were merged. Memberships with an address of the new account are found by that address;
    others are only found by their account, which is updated here."""
    with database.open(everything("staff whose account became another"), write=True) as db:
        known = select(IdentityEmail.email_key).where(IdentityEmail.identity_id == new_id)
        new_businesses = select(Membership.business_id).where(Membership.identity_id == new_id)
        db.execute(
            update(Membership)
            .where(Membership.identity_id == old_id, Membership.email_key.not_in(known), Membership.business_id.not_in(new_businesses))
            .values(identity_id=new_id),
            execution_options={"synchronize_session": False},
        )


def invitations_for(database: Database, visit: Visit) -> list[OpenInvitation]:
    """Return open invitations to the verified addresses of this visit."""
    if visit.identity_id is None or not visit.addresses:
        return []
    query = (
        select(Invitation, Business.name)
        .join(Business, Business.business_id == Invitation.business_id)
        .where(Invitation.email_key.in_(visit.addresses), *is_open())
        .order_by(Business.name, Invitation.created_at)
    )
    with database.open(everything("who is invited")) as db:
        return [OpenInvitation(i.id, i.business_id, name, i.role, i.email) for i, name in db.execute(query)]


def invited_address(database: Database, address_key: str) -> str | None:
    """Return the address of an open invitation. It may be used to sign in without any purchase."""
    with database.open(everything("is this address invited")) as db:
        return db.scalar(
            select(Invitation.email).where(Invitation.email_key == address_key, *is_open()).order_by(Invitation.created_at).limit(1)
        )


def is_open() -> tuple:  # type: ignore[type-arg]
    """Return the conditions of an open invitation. Its sender must still have the right to invite."""
    sender = aliased(Membership)
    may_still = select(sender.id).where(
        sender.business_id == Invitation.business_id,
        sender.id == Invitation.invited_by,
        sender.removed_at.is_(None),
        sender.role.in_([role for role in ROLES if may(role, "team.write")]),
    )
    return (
        Invitation.accepted_at.is_(None),
        Invitation.revoked_at.is_(None),
        Invitation.expires_at > clock.wall(),
        or_(Invitation.invited_by.is_(None), may_still.exists()),
    )


def members(db: ScopedSession) -> list[Membership]:
    """Return the team of the session's business, oldest membership first."""
    return list(db.scalars(select(Membership).where(Membership.removed_at.is_(None)).order_by(Membership.created_at, Membership.id)))


def open_invitations(db: ScopedSession) -> list[Invitation]:
    return list(db.scalars(select(Invitation).where(*is_open()).order_by(Invitation.created_at, Invitation.id)))
