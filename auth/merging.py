"""Two accounts of one person become one, with a yes from both sides.

A person asks for an address that has an account of its own. The letter, opened in the browser that asked, speaks for that
account only where the address is its main one and it has no passkey; else somebody signed in there says yes as well. Then
its addresses, passkeys and provider logins move over, its sessions end, and every address hears.

What came over is marked (`came_from`, `handle`): when the last of those addresses is removed again, it all goes with them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Mapped, mapped_column

from auth import exports, notices
from auth.locking import lock_people
from auth.models import BrowserSession, Challenge, Grant, Identity, IdentityEmail
from auth.passkeys import Passkey
from auth.providers.models import ProviderLogin
from auth.sessions import Visit
from billing.parties import Business, Customer
from core import clock, ids
from core.conflicts import retried
from core.db import Database, ScopedSession
from core.errors import Conflict, NotFound
from core.models import Base
from core.outbox import emit
from core.scope import Actor, everything

LIFE = timedelta(hours=1)
_QUIETLY = {"synchronize_session": False}


class Merge(Base):
    """Somebody of `into_id` proved `email`, an address of `from_id`. It is done when both sides agreed."""

    __tablename__ = "account_merges"

    id: Mapped[str] = mapped_column(primary_key=True)
    into_id: Mapped[str] = mapped_column(index=True)
    from_id: Mapped[str] = mapped_column(index=True)
    email: Mapped[str]
    email_key: Mapped[str]
    into_agreed_at: Mapped[datetime | None]
    from_agreed_at: Mapped[datetime | None]
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]


@dataclass(frozen=True)
class Account:
    """What a side brings, for the page that asks."""

    main: str
    emails: list[str]
    businesses: list[str]
    passkeys: int
    logins: list[str]


@dataclass(frozen=True)
class Asked:
    """One merge as one side sees it. `theirs` is None until enough is proved to be shown what the other account holds."""

    id: str
    email: str
    is_asker: bool
    i_agreed: bool
    they_agreed: bool
    is_main: bool
    has_passkey: bool
    mine: Account
    theirs: Account | None
    other_main: str


def begin(db: ScopedSession, into_id: str, held: IdentityEmail) -> str:
    """The letter to `held` was opened in the browser of `into_id`. Returns the merge's id; older ones of the two end."""
    at = clock.wall()
    db.execute(update(Merge).where(Merge.into_id == into_id, Merge.from_id == held.identity_id, Merge.ended_at.is_(None))
               .values(ended_at=at), execution_options=_QUIETLY)
    row = Merge(id=ids.new_id("mrg"), into_id=into_id, from_id=held.identity_id, email=held.email, email_key=held.email_key,
                into_agreed_at=None, from_agreed_at=at if _speaks(db, held) else None, created_at=at, expires_at=at + LIFE, ended_at=None)
    db.add(row)
    return row.id


def look(database: Database, visit: Visit, merge_id: str) -> Asked:
    """Raises NotFound for anybody but the two, and when it is over."""
    with database.open(everything("two accounts may become one")) as db:
        row = _open(db, visit, merge_id)
        held = _held(db, row)
        is_asker = row.into_id == visit.identity_id
        other = row.from_id if is_asker else row.into_id
        mains = _account(db, other)
        return Asked(
            row.id, row.email, is_asker, bool(row.into_agreed_at if is_asker else row.from_agreed_at),
            bool(row.from_agreed_at if is_asker else row.into_agreed_at), held.is_primary, _passkeys(db, row.from_id) > 0,
            _account(db, str(visit.identity_id)), mains if row.from_agreed_at or not is_asker else None, mains.main,
        )


def waiting(database: Database, visit: Visit) -> list[tuple[str, str]]:
    """(merge id, main address of who asks) of what waits for this person's yes."""
    if visit.identity_id is None or len(visit.addresses) < len(visit.emails):
        return []
    query = (select(Merge.id, IdentityEmail.email)
             .join(IdentityEmail, (IdentityEmail.identity_id == Merge.into_id) & IdentityEmail.is_primary.is_(True))
             .where(Merge.from_id == visit.identity_id, Merge.from_agreed_at.is_(None), Merge.into_agreed_at.is_not(None),
                    Merge.ended_at.is_(None), Merge.expires_at > clock.wall()))
    with database.open(everything("does somebody ask to join this account")) as db:
        return [(one, email) for one, email in db.execute(query)]


@retried
def agree(database: Database, visit: Visit, merge_id: str) -> bool:
    """One side's yes. True: both agreed, and it is done. Raises NotFound, Conflict when the address has changed hands since."""
    with database.open(everything("two accounts become one"), write=True) as db:
        seen = _open(db, visit, merge_id)
        lock_people(db, seen.into_id, seen.from_id)
        db.expire_all()
        row = _open(db, visit, merge_id, lock=True)
        at, held = clock.wall(), _held(db, row)
        if row.from_agreed_at == row.created_at and not _speaks(db, held):  # a letter said yes, and it would not be enough any more
            row.from_agreed_at = None
        if row.into_id == visit.identity_id:
            row.into_agreed_at = at
        else:
            row.from_agreed_at = at
        if not (row.into_agreed_at and row.from_agreed_at):
            return False
        row.ended_at = at
        _join(db, row.into_id, row.from_id)
        return True


@retried
def refuse(database: Database, visit: Visit, merge_id: str) -> None:
    with database.open(everything("two accounts stay two"), write=True) as db:
        lock_people(db, visit.identity_id)
        _open(db, visit, merge_id, lock=True).ended_at = clock.wall()


def movable(database: Database, visit: Visit, merge_id: str) -> Merge:
    """The merge of an address that may leave its account by itself: not the main one, of an account without a passkey."""
    with database.open(everything("an address changes hands")) as db:
        row = _open(db, visit, merge_id)
        held = _held(db, row)
        if row.into_id != visit.identity_id or held.is_primary or _passkeys(db, row.from_id):
            raise NotFound()
        return row


def forget_company(db: ScopedSession, identity_id: str, came_from: str | None) -> None:
    """The last address that came over from another account has left: so do that account's passkeys and provider logins,
    and the sessions that such keys opened."""
    left = select(IdentityEmail.id).where(IdentityEmail.identity_id == identity_id, IdentityEmail.came_from == came_from).limit(1)
    if came_from is None or db.scalar(left) is not None:
        return
    keys = db.execute(delete(Passkey).where(Passkey.identity_id == identity_id, Passkey.handle == came_from), execution_options=_QUIETLY)
    logins = db.execute(delete(ProviderLogin).where(ProviderLogin.identity_id == identity_id, ProviderLogin.came_from == came_from),
                        execution_options=_QUIETLY)
    if keys.rowcount or logins.rowcount:  # type: ignore[attr-defined]
        opened = select(Grant.session_id).where(
            Grant.door == "unified", Grant.proof.in_(("passkey", "provider")), Grant.address_key.is_(None))
        db.execute(update(BrowserSession).where(BrowserSession.identity_id == identity_id, BrowserSession.id.in_(opened))
                   .values(revoked_at=clock.wall()), execution_options=_QUIETLY)


def _speaks(db: ScopedSession, held: IdentityEmail) -> bool:
    """Whether a letter to this address is that account's own yes."""
    return held.is_primary and not _passkeys(db, held.identity_id)


def _open(db: ScopedSession, visit: Visit, merge_id: str, lock: bool = False) -> Merge:
    query = select(Merge).where(Merge.id == merge_id, Merge.ended_at.is_(None), Merge.expires_at > clock.wall())
    row = db.scalar(query.with_for_update() if lock else query)
    if row is None or visit.identity_id is None or visit.identity_id not in (row.into_id, row.from_id):
        raise NotFound()
    if visit.identity_id == row.from_id and row.into_agreed_at is None:  # who asked has not said yet that they want it
        raise NotFound()
    return row


def _held(db: ScopedSession, row: Merge) -> IdentityEmail:
    held = db.scalar(select(IdentityEmail).where(IdentityEmail.identity_id == row.from_id, IdentityEmail.email_key == row.email_key))
    if held is None:
        raise NotFound()
    return held


def _passkeys(db: ScopedSession, identity_id: str) -> int:
    return db.scalar(select(func.count(Passkey.id)).where(Passkey.identity_id == identity_id)) or 0


def _account(db: ScopedSession, identity_id: str) -> Account:
    emails = list(db.scalars(select(IdentityEmail).where(IdentityEmail.identity_id == identity_id)
                             .order_by(IdentityEmail.is_primary.desc(), IdentityEmail.email_key)))
    shops = db.scalars(
        select(Business.name).join(Customer, Customer.business_id == Business.business_id)
        .where(Customer.email_key.in_([one.email_key for one in emails]), ~Customer.is_declined, Customer.is_known)
        .distinct().order_by(Business.name))
    logins = db.scalars(select(ProviderLogin.label).where(ProviderLogin.identity_id == identity_id).order_by(ProviderLogin.label))
    return Account(emails[0].email if emails else "", [one.email for one in emails], list(shops), _passkeys(db, identity_id), list(logins))


def _join(db: ScopedSession, into_id: str, from_id: str) -> None:
    both = list(db.scalars(select(IdentityEmail).where(IdentityEmail.identity_id.in_((into_id, from_id)))
                           .order_by(IdentityEmail.email_key).with_for_update()))
    theirs, written = [one.email_key for one in both if one.identity_id == from_id], ", ".join(one.email for one in both)
    people = {one.identity_id: one for one in db.scalars(select(Identity).where(Identity.identity_id.in_((into_id, from_id))))}
    if not theirs or len(people) < 2:
        raise Conflict("ACCOUNT_GONE", "One of the two accounts is not there any more.")
    at, now = clock.wall(), {"identity_id": into_id}
    for table, mark in ((IdentityEmail, "came_from"), (ProviderLogin, "came_from"), (Passkey, "handle")):
        first = func.coalesce(getattr(table, mark), from_id)  # who came to them before goes by its first name still
        more = {"is_primary": False} if table is IdentityEmail else {}
        db.execute(update(table).where(table.identity_id == from_id).values({**now, **more, mark: first}), execution_options=_QUIETLY)
    db.execute(update(BrowserSession).where(BrowserSession.identity_id == from_id, BrowserSession.revoked_at.is_(None))
               .values(revoked_at=at), execution_options=_QUIETLY)
    db.execute(update(BrowserSession).where(BrowserSession.identity_id == from_id).values(identity_id=None), execution_options=_QUIETLY)
    db.execute(update(Challenge).where(Challenge.address_key.in_(theirs), Challenge.used_at.is_(None), Challenge.revoked_at.is_(None))
               .values(revoked_at=at), execution_options=_QUIETLY)
    db.execute(update(Merge).where(Merge.ended_at.is_(None), (Merge.into_id == from_id) | (Merge.from_id == from_id))
               .values(ended_at=at), execution_options=_QUIETLY)
    people[into_id].name = people[into_id].name or people[from_id].name
    exports.forget(db, from_id)
    db.flush()
    db.expire_all()
    emit(db, "auth.accounts_merged", noun=into_id, actor=Actor("customer", into_id), data={"from": from_id, "into": into_id})
    notices.tell(db, into_id, "merged", written)
    db.execute(delete(Identity).where(Identity.identity_id == from_id), execution_options=_QUIETLY)
