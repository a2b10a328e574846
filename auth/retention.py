"""Delete expired sign-in rows, because they contain addresses, devices and sources."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, or_, select

from auth.models import AccessToken, BrowserSession, Challenge, Grant, RateLimitCount
from auth.oidc_client.models import LogoutTokenSeen, ProviderState
from auth.passkey_ceremonies import PasskeyCeremony
from core import clock
from core.db import Database
from core.outbox import Outbox
from core.scope import everything

SHORT, LONG = timedelta(days=1), timedelta(days=30)
COUNTED = timedelta(days=8)  # longer than the longest rate-limit window
BATCH, ROUNDS = 500, 20


def sweep(database: Database) -> int:
    """Delete expired rows, some thousands at a time, each batch in its own transaction. Returns the number of deleted rows."""
    deleted = 0
    for table, key, is_old in _old(clock.wall()):
        for _ in range(ROUNDS):
            with database.open(everything("find expired sign-in rows")) as db:
                old = list(db.scalars(select(key).where(is_old).limit(BATCH)))
            if old:
                with database.open(everything("delete expired sign-in rows"), write=True) as db:
                    if table is BrowserSession:
                        for of_session in (Grant, AccessToken):
                            theirs = delete(of_session).where(of_session.session_id.in_(old))
                            db.execute(theirs, execution_options={"synchronize_session": False})
                    db.execute(delete(table).where(key.in_(old), is_old), execution_options={"synchronize_session": False})
                deleted += len(old)
            if len(old) < BATCH:
                break
    return deleted


def _old(at: datetime) -> Iterator[tuple[Any, Any, Any]]:
    """Yield (table, key column, condition). Challenges and sessions stay for a month, because their pages report the expiry."""
    yield Challenge, Challenge.id, Challenge.expires_at < at - LONG
    yield AccessToken, AccessToken.id, AccessToken.expires_at < at - LONG
    yield BrowserSession, BrowserSession.id, or_(BrowserSession.expires_at < at - LONG, BrowserSession.revoked_at < at - LONG)
    yield ProviderState, ProviderState.id, ProviderState.expires_at < at - SHORT
    yield PasskeyCeremony, PasskeyCeremony.id, PasskeyCeremony.expires_at < at - SHORT
    yield LogoutTokenSeen, LogoutTokenSeen.id, LogoutTokenSeen.seen_at < at - SHORT
    yield RateLimitCount, RateLimitCount.key, RateLimitCount.window_start < at - COUNTED
    yield Outbox, Outbox.id, (Outbox.state == "done") & (Outbox.due_at < at - LONG)
