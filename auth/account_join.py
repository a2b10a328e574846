"""Move the rows of a merged account, and delete the moved rows when the last address of that account is removed."""

from __future__ import annotations

from sqlalchemy import delete, func, select, update

from auth import account_emails, personal_export
from auth.models import BrowserSession, Challenge, Grant, Identity, IdentityEmail, Merge
from auth.oidc_client.models import ProviderLogin
from auth.passkeys import Passkey
from core import clock
from core.db import ScopedSession
from core.errors import N_, Conflict
from core.outbox import emit
from core.scope import Actor

_QUIETLY = {"synchronize_session": False}


def remove_merged(db: ScopedSession, identity_id: str, came_from: str | None) -> None:
    """If the last address merged from `came_from` is gone, delete that account's passkeys and provider logins.

    Sessions opened by such passkeys and logins end too.
    """
    left = select(IdentityEmail.id).where(IdentityEmail.identity_id == identity_id, IdentityEmail.came_from == came_from).limit(1)
    if came_from is None or db.scalar(left) is not None:
        return
    keys = db.execute(delete(Passkey).where(Passkey.identity_id == identity_id, Passkey.handle == came_from), execution_options=_QUIETLY)
    logins = db.execute(
        delete(ProviderLogin).where(ProviderLogin.identity_id == identity_id, ProviderLogin.came_from == came_from),
        execution_options=_QUIETLY,
    )
    if keys.rowcount or logins.rowcount:  # type: ignore[attr-defined]
        opened = select(Grant.session_id).where(
            Grant.door == "unified", Grant.sign_in_method.in_(("passkey", "provider")), Grant.address_key.is_(None)
        )
        db.execute(
            update(BrowserSession)
            .where(BrowserSession.identity_id == identity_id, BrowserSession.id.in_(opened))
            .values(revoked_at=clock.wall()),
            execution_options=_QUIETLY,
        )


def join(db: ScopedSession, into_id: str, from_id: str) -> None:
    both = list(
        db.scalars(
            select(IdentityEmail)
            .where(IdentityEmail.identity_id.in_((into_id, from_id)))
            .order_by(IdentityEmail.email_key)
            .with_for_update()
        )
    )
    moved_keys, addresses = [item.email_key for item in both if item.identity_id == from_id], ", ".join(item.email for item in both)
    people = {
        identity.identity_id: identity for identity in db.scalars(select(Identity).where(Identity.identity_id.in_((into_id, from_id))))
    }
    if not moved_keys or len(people) < 2:
        raise Conflict("ACCOUNT_GONE", N_("One of the two accounts no longer exists."))
    at, now = clock.wall(), {"identity_id": into_id}
    for table, mark in ((IdentityEmail, "came_from"), (ProviderLogin, "came_from"), (Passkey, "handle")):
        first = func.coalesce(getattr(table, mark), from_id)  # rows of an earlier merge keep their first origin
        more = {"is_primary": False} if table is IdentityEmail else {}
        db.execute(update(table).where(table.identity_id == from_id).values({**now, **more, mark: first}), execution_options=_QUIETLY)
    db.execute(
        update(BrowserSession).where(BrowserSession.identity_id == from_id, BrowserSession.revoked_at.is_(None)).values(revoked_at=at),
        execution_options=_QUIETLY,
    )
    db.execute(update(BrowserSession).where(BrowserSession.identity_id == from_id).values(identity_id=None), execution_options=_QUIETLY)
    db.execute(
        update(Challenge)
        .where(Challenge.address_key.in_(moved_keys), Challenge.used_at.is_(None), Challenge.revoked_at.is_(None))
        .values(revoked_at=at),
        execution_options=_QUIETLY,
    )
    db.execute(
        update(Merge).where(Merge.ended_at.is_(None), (Merge.into_id == from_id) | (Merge.from_id == from_id)).values(ended_at=at),
        execution_options=_QUIETLY,
    )
    people[into_id].name = people[into_id].name or people[from_id].name
    personal_export.forget(db, from_id)
    db.flush()
    db.expire_all()
    emit(db, "auth.accounts_merged", noun=into_id, actor=Actor("customer", into_id), data={"from": from_id, "into": into_id})
    account_emails.notify_identity(db, into_id, "merged", addresses)
    db.execute(delete(Identity).where(Identity.identity_id == from_id), execution_options=_QUIETLY)
