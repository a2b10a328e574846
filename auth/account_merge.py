"""Merge two accounts of one person, with confirmation from both sides.

A person adds an address that has its own account. The emailed link counts as that account's confirmation only if the address is
its main one and the account has no passkey. Otherwise someone signed in to that account must confirm too. Then its addresses,
passkeys and provider logins move over, its sessions end, and all addresses are notified.

Moved rows are marked (`came_from`, `handle`). When the last moved address is removed again, the other moved rows go with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import func, select, update

from auth.account_join import join
from auth.identity_locks import lock_people
from auth.models import IdentityEmail, Merge
from auth.oidc_client.models import ProviderLogin
from auth.passkeys import Passkey
from auth.sessions import Visit
from billing.model.parties import Business, Customer
from core import clock, ids
from core.db import Database, ScopedSession
from core.errors import NotFound
from core.scope import everything
from core.transaction_retry import retried

LIFE = timedelta(hours=1)
_QUIETLY = {"synchronize_session": False}


@dataclass(frozen=True)
class MergeSide:
    """Contents of one account, for the confirmation page."""

    main: str
    emails: list[str]
    businesses: list[str]
    passkeys: int
    logins: list[str]


@dataclass(frozen=True)
class MergeRequest:
    """A merge as one side sees it. `theirs` is None until the visitor may see the other account's contents."""

    id: str
    email: str
    is_asker: bool
    i_agreed: bool
    they_agreed: bool
    is_main: bool
    has_passkey: bool
    mine: MergeSide
    theirs: MergeSide | None
    other_main: str


def begin(db: ScopedSession, into_id: str, existing: IdentityEmail) -> str:
    """Start a merge after the link sent to `existing` was opened in the browser of `into_id`.

    Returns the merge id. Older merges of the two accounts end.
    """
    at = clock.wall()
    db.execute(
        update(Merge).where(Merge.into_id == into_id, Merge.from_id == existing.identity_id, Merge.ended_at.is_(None)).values(ended_at=at),
        execution_options=_QUIETLY,
    )
    row = Merge(
        id=ids.new_id("mrg"),
        into_id=into_id,
        from_id=existing.identity_id,
        email=existing.email,
        email_key=existing.email_key,
        into_agreed_at=None,
        from_agreed_at=at if _confirms_by_email(db, existing) else None,
        created_at=at,
        expires_at=at + LIFE,
        ended_at=None,
    )
    db.add(row)
    return row.id


def view(database: Database, visit: Visit, merge_id: str) -> MergeRequest:
    """Return the merge for the confirmation page. Raises NotFound for other people and for ended merges."""
    with database.open(everything("view an account merge")) as db:
        row = _open(db, visit, merge_id)
        existing = _held(db, row)
        is_asker = row.into_id == visit.identity_id
        other = row.from_id if is_asker else row.into_id
        mains = _account(db, other)
        return MergeRequest(
            row.id,
            row.email,
            is_asker,
            bool(row.into_agreed_at if is_asker else row.from_agreed_at),
            bool(row.from_agreed_at if is_asker else row.into_agreed_at),
            existing.is_primary,
            _passkeys(db, row.from_id) > 0,
            _account(db, str(visit.identity_id)),
            mains if row.from_agreed_at or not is_asker else None,
            mains.main,
        )


def pending(database: Database, visit: Visit) -> list[tuple[str, str]]:
    """Return (merge id, main address of the requester) of merges that this person must confirm."""
    if visit.identity_id is None or len(visit.addresses) < len(visit.emails):
        return []
    query = (
        select(Merge.id, IdentityEmail.email)
        .join(IdentityEmail, (IdentityEmail.identity_id == Merge.into_id) & IdentityEmail.is_primary.is_(True))
        .where(
            Merge.from_id == visit.identity_id,
            Merge.from_agreed_at.is_(None),
            Merge.into_agreed_at.is_not(None),
            Merge.ended_at.is_(None),
            Merge.expires_at > clock.wall(),
        )
    )
    with database.open(everything("list pending account merges")) as db:
        return [(item, email) for item, email in db.execute(query)]


@retried
def agree(database: Database, visit: Visit, merge_id: str) -> bool:
    """Record one side's agreement. Returns True if both agreed and the merge is done.

    Raises NotFound, Conflict if the address has changed owner since.
    """
    with database.open(everything("merge two accounts"), write=True) as db:
        merge = _open(db, visit, merge_id)
        lock_people(db, merge.into_id, merge.from_id)
        db.expire_all()
        row = _open(db, visit, merge_id, lock=True)
        at, existing = clock.wall(), _held(db, row)
        if row.from_agreed_at == row.created_at and not _confirms_by_email(db, existing):  # the email confirmed it, but no longer suffices
            row.from_agreed_at = None
        if row.into_id == visit.identity_id:
            row.into_agreed_at = at
        else:
            row.from_agreed_at = at
        if not (row.into_agreed_at and row.from_agreed_at):
            return False
        row.ended_at = at
        join(db, row.into_id, row.from_id)
        return True


@retried
def refuse(database: Database, visit: Visit, merge_id: str) -> None:
    with database.open(everything("refuse an account merge"), write=True) as db:
        lock_people(db, visit.identity_id)
        _open(db, visit, merge_id, lock=True).ended_at = clock.wall()


def movable(database: Database, visit: Visit, merge_id: str) -> Merge:
    """Return the merge if its address may move alone: a secondary address of an account without passkeys. Raises NotFound."""
    with database.open(everything("check whether an address can move")) as db:
        row = _open(db, visit, merge_id)
        existing = _held(db, row)
        if row.into_id != visit.identity_id or existing.is_primary or _passkeys(db, row.from_id):
            raise NotFound()
        return row


def _confirms_by_email(db: ScopedSession, existing: IdentityEmail) -> bool:
    """Return whether an email to this address suffices as the account's agreement."""
    return existing.is_primary and not _passkeys(db, existing.identity_id)


def _open(db: ScopedSession, visit: Visit, merge_id: str, lock: bool = False) -> Merge:
    query = select(Merge).where(Merge.id == merge_id, Merge.ended_at.is_(None), Merge.expires_at > clock.wall())
    row = db.scalar(query.with_for_update() if lock else query)
    if row is None or visit.identity_id is None or visit.identity_id not in (row.into_id, row.from_id):
        raise NotFound()
    if visit.identity_id == row.from_id and row.into_agreed_at is None:  # the requester has not agreed yet
        raise NotFound()
    return row


def _held(db: ScopedSession, row: Merge) -> IdentityEmail:
    existing = db.scalar(select(IdentityEmail).where(IdentityEmail.identity_id == row.from_id, IdentityEmail.email_key == row.email_key))
    if existing is None:
        raise NotFound()
    return existing


def _passkeys(db: ScopedSession, identity_id: str) -> int:
    return db.scalar(select(func.count(Passkey.id)).where(Passkey.identity_id == identity_id)) or 0


def _account(db: ScopedSession, identity_id: str) -> MergeSide:
    emails = list(
        db.scalars(
            select(IdentityEmail)
            .where(IdentityEmail.identity_id == identity_id)
            .order_by(IdentityEmail.is_primary.desc(), IdentityEmail.email_key)
        )
    )
    businesses = db.scalars(
        select(Business.name)
        .join(Customer, Customer.business_id == Business.business_id)
        .where(Customer.email_key.in_([item.email_key for item in emails]), ~Customer.is_declined, Customer.is_recognized)
        .distinct()
        .order_by(Business.name)
    )
    logins = db.scalars(select(ProviderLogin.label).where(ProviderLogin.identity_id == identity_id).order_by(ProviderLogin.label))
    return MergeSide(
        emails[0].email if emails else "", [item.email for item in emails], list(businesses), _passkeys(db, identity_id), list(logins)
    )
