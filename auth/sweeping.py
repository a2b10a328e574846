"""What signing in leaves behind is forgotten once it opens nothing any more: it names addresses, devices and sources."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, or_, select

from auth.models import BrowserSession, Budget, Challenge, Grant
from auth.passkeys import PasskeyCeremony
from auth.providers.models import LogoutTokenSeen, ProviderState
from core import clock
from core.db import Database
from core.outbox import Outbox
from core.scope import everything

SHORT, LONG = timedelta(days=1), timedelta(days=30)
COUNTED = timedelta(days=8)  # longer than the longest window of a budget
BATCH, ROUNDS = 500, 20


def sweep(database: Database) -> int:
    """Rows that are over for good, some thousands at a time, each batch in a transaction of its own. Returns how many went."""
    gone = 0
    for table, key, is_old in _old(clock.wall()):
        for _ in range(ROUNDS):
            with database.open(everything("what is old of signing in")) as db:
                old = list(db.scalars(select(key).where(is_old).limit(BATCH)))
            if old:
                with database.open(everything("forget what is old of signing in"), write=True) as db:
                    if table is BrowserSession:
                        db.execute(delete(Grant).where(Grant.session_id.in_(old)), execution_options={"synchronize_session": False})
                    db.execute(delete(table).where(key.in_(old), is_old), execution_options={"synchronize_session": False})
                gone += len(old)
            if len(old) < BATCH:
                break
    return gone


def _old(at: datetime) -> Iterator[tuple[Any, Any, Any]]:
    """(table, its key, which rows): letters and sessions a month after they ended, for their pages say so as long."""
    yield Challenge, Challenge.id, Challenge.expires_at < at - LONG
    yield BrowserSession, BrowserSession.id, or_(BrowserSession.expires_at < at - LONG, BrowserSession.revoked_at < at - LONG)
    yield ProviderState, ProviderState.id, ProviderState.expires_at < at - SHORT
    yield PasskeyCeremony, PasskeyCeremony.id, PasskeyCeremony.expires_at < at - SHORT
    yield LogoutTokenSeen, LogoutTokenSeen.id, LogoutTokenSeen.seen_at < at - SHORT
    yield Budget, Budget.key, Budget.window_start < at - COUNTED
    yield Outbox, Outbox.id, (Outbox.state == "done") & (Outbox.due_at < at - LONG)
