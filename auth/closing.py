"""Closing an account: the person goes, with every address, key, session and letter on its way. What a business has to keep by
law (its customer's record, invoices, payments) is the business's and stays, and is found
by its address as before: whoever proves that later, in a new account, sees it again (safety 2.2: a proof opens the address's rows).
"""

from __future__ import annotations

from sqlalchemy import delete, select, update

from auth import exports
from auth.locking import lock_people
from auth.merging import Merge
from auth.models import BrowserSession, Challenge, Grant, Identity, IdentityEmail
from auth.passkeys import Passkey, PasskeyCeremony
from auth.provider import consents
from auth.providers.models import ProviderLogin, ProviderState
from auth.sessions import Visit
from core import clock
from core.conflicts import retried
from core.db import Database
from core.errors import Forbidden, Unauthorized
from core.outbox import emit
from core.scope import Actor, everything

_QUIETLY = {"synchronize_session": False}


@retried
def close(database: Database, visit: Visit) -> None:
    """For good. Every address gets a letter. Raises Unauthorized and Forbidden for a session that does not open everything."""
    who = visit.identity_id
    if who is None or visit.link is not None:
        raise Unauthorized()
    if len(visit.addresses) < len(visit.emails):
        raise Forbidden("PROOF_NEEDED", "Sign in with your main address first.")
    with database.open(everything("a person closes their account"), write=True) as db:
        if not lock_people(db, who):
            raise Unauthorized()  # it became part of another account a moment ago
        rows = list(db.execute(select(IdentityEmail.email, IdentityEmail.email_key).where(IdentityEmail.identity_id == who)
                               .order_by(IdentityEmail.email_key).with_for_update()))
        emit(db, "auth.account_closed", actor=Actor("customer", who), data={"to": [email for email, _ in rows], "locale": visit.locale})
        keys, theirs = [key for _, key in rows], select(BrowserSession.id).where(BrowserSession.identity_id == who)
        consents.take_all_back(db, keys, Actor("customer", who))
        for statement in (
            delete(Grant).where(Grant.session_id.in_(theirs)), delete(BrowserSession).where(BrowserSession.identity_id == who),
            delete(Challenge).where(Challenge.address_key.in_(keys) | (Challenge.identity_id == who)),
            delete(PasskeyCeremony).where(PasskeyCeremony.identity_id == who),
            delete(ProviderState).where(ProviderState.identity_id == who),
            delete(Passkey).where(Passkey.identity_id == who), delete(ProviderLogin).where(ProviderLogin.identity_id == who),
            update(Merge).where((Merge.into_id == who) | (Merge.from_id == who)).values(ended_at=clock.wall(), email="", email_key=""),
        ):
            db.execute(statement, execution_options=_QUIETLY)
        exports.forget(db, who)
        for table in (IdentityEmail, Identity):
            db.execute(delete(table).where(table.identity_id == who), execution_options=_QUIETLY)
