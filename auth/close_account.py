"""Close an account: delete the person with all addresses, keys, sessions and pending emails.

Records that a business must keep by law (customer, invoices, payments) stay with the business and are still found by address.
Whoever proves that address later, in a new account, sees them again (safety 2.2).
"""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import delete, select, update

from auth import personal_export
from auth.identity_locks import lock_people
from auth.models import AccessToken, BrowserSession, Challenge, Grant, Identity, IdentityEmail, Merge
from auth.oidc_client.models import ProviderLogin, ProviderState
from auth.oidc_server import consents
from auth.passkey_ceremonies import PasskeyCeremony
from auth.passkeys import Passkey
from auth.sessions import Visit
from core import clock
from core.db import Database, ScopedSession
from core.errors import N_, Forbidden, Unauthorized
from core.outbox import emit
from core.scope import Actor, everything
from core.transaction_retry import retried

Leave = Callable[[ScopedSession, str, list[str]], None]
"""Arguments: a session under everything(), the account id, the keys of its addresses."""
_QUIETLY = {"synchronize_session": False}


@retried
def close(database: Database, visit: Visit, leave: Leave | None = None) -> None:
    """Close the account permanently and email all its addresses. `leave` ends team memberships in the same transaction.

    Raises Unauthorized and Forbidden for a session that does not open everything, and what `leave` raises (Conflict: the last owner).
    """
    identity_id = visit.identity_id
    if identity_id is None or visit.link is not None:
        raise Unauthorized()
    if len(visit.addresses) < len(visit.emails):
        raise Forbidden("PROOF_NEEDED", N_("Sign in with your main address first."))
    with database.open(everything("close an account"), write=True) as db:
        if not lock_people(db, identity_id):
            raise Unauthorized()  # it was merged into another account a moment ago
        rows = list(
            db.execute(
                select(IdentityEmail.email, IdentityEmail.email_key)
                .where(IdentityEmail.identity_id == identity_id)
                .order_by(IdentityEmail.email_key)
                .with_for_update()
            )
        )
        emit(
            db,
            "auth.account_closed",
            actor=Actor("customer", identity_id),
            data={"to": [email for email, _ in rows], "locale": visit.locale},
        )
        keys, theirs = [key for _, key in rows], select(BrowserSession.id).where(BrowserSession.identity_id == identity_id)
        if leave is not None:
            leave(db, identity_id, keys)
        consents.revoke_all(db, keys, Actor("customer", identity_id))
        for statement in (
            delete(Grant).where(Grant.session_id.in_(theirs)),
            delete(AccessToken).where(AccessToken.session_id.in_(theirs)),
            delete(BrowserSession).where(BrowserSession.identity_id == identity_id),
            delete(Challenge).where(Challenge.address_key.in_(keys) | (Challenge.identity_id == identity_id)),
            delete(PasskeyCeremony).where(PasskeyCeremony.identity_id == identity_id),
            delete(ProviderState).where(ProviderState.identity_id == identity_id),
            delete(Passkey).where(Passkey.identity_id == identity_id),
            delete(ProviderLogin).where(ProviderLogin.identity_id == identity_id),
            update(Merge)
            .where((Merge.into_id == identity_id) | (Merge.from_id == identity_id))
            .values(ended_at=clock.wall(), email="", email_key=""),
        ):
            db.execute(statement, execution_options=_QUIETLY)
        personal_export.forget(db, identity_id)
        for table in (IdentityEmail, Identity):
            db.execute(delete(table).where(table.identity_id == identity_id), execution_options=_QUIETLY)
