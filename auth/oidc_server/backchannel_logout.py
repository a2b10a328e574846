"""Notify apps when a session here ends (OpenID Connect Back-Channel Logout 1.0).

`sweep` finds ended sessions and makes their logout due. `Logouts` notifies the apps in separate lanes (core/lanes.py), so that an
app which never answers delays only the logouts of its own business.
"""

from __future__ import annotations

from datetime import timedelta
from urllib.parse import urlencode

import structlog
from sqlalchemy import delete, select, update

from auth.models import BrowserSession, Grant
from auth.oidc_server import id_tokens
from auth.oidc_server.models import App, AppSession, AppToken
from auth.oidc_server.token_store import grant_lives
from core import clock, recurring_jobs
from core.db import Database, ScopedSession
from core.lanes import Lanes, Turn
from core.metrics.snapshot import Due, count_due
from core.outbox import emit
from core.outgoing import HostUnreachable, RequestRefused
from core.scope import Actor, everything, system
from core.services import Services

log = structlog.get_logger()
BATCH, A_DAY = 200, timedelta(days=1)
_QUIETLY = {"synchronize_session": False}
TRIED_FOR = timedelta(hours=2)
"""How long a silent app is retried. Its own session has ended by then, and its tokens even earlier."""
BACKOFF = (5, 30, 120, 600, 1800)
"""Seconds until a silent app is retried."""
TIMEOUT = 5.0  # seconds for the whole response


def sweep(database: Database) -> int:
    """Make logouts of ended sessions due and delete expired tokens. Returns the number of ended sessions.

    Businesses take turns.
    """
    at = clock.wall()
    over = (
        select(AppSession.business_id, AppSession.id)
        .join(App, (App.business_id == AppSession.business_id) & (App.id == AppSession.app_id))
        .outerjoin(Grant, Grant.id == AppSession.grant_id)
        .outerjoin(BrowserSession, BrowserSession.id == Grant.session_id)
        .where(
            AppSession.left_at.is_(None),
            AppSession.expires_at > at,
            AppSession.code_used_at.is_not(None),
            App.backchannel_uri.is_not(None),  # apps with a logout URI; others notice through token introspection
            AppSession.ended_at.is_not(None) | Grant.id.is_(None) | BrowserSession.id.is_(None) | ~grant_lives(),
        )
    )
    old = select(AppToken.id).where(AppToken.expires_at < at)
    with database.open(everything("find ended app sessions")) as db:
        if db.execute(over.limit(1)).first() is None and db.scalar(old.limit(1)) is None:
            return 0
        ids = [item[1] for item in db.execute(recurring_jobs.in_turns(over, AppSession.business_id, AppSession.id, limit=BATCH))]
        tokens = list(db.scalars(old.limit(BATCH)))
        families = list(db.scalars(select(AppSession.id).where(AppSession.expires_at < at - A_DAY).limit(BATCH)))
    with database.open(everything("end app sessions"), write=True) as db:
        found = list(db.scalars(select(AppSession).where(AppSession.id.in_(ids), AppSession.left_at.is_(None)))) if ids else []
        for item in found:
            item.left_at = item.logout_due_at = at
            emit(
                db,
                "app.session_left",
                business_id=item.business_id,
                customer_id=item.customer_id,
                noun=item.id,
                data={"app_id": item.app_id},
                actor=Actor("system"),
            )
        if tokens:
            db.execute(delete(AppToken).where(AppToken.id.in_(tokens), AppToken.expires_at < at), execution_options=_QUIETLY)
        if families:
            db.execute(delete(AppToken).where(AppToken.app_session_id.in_(families)), execution_options=_QUIETLY)
            db.execute(delete(AppSession).where(AppSession.id.in_(families)), execution_options=_QUIETLY)
        return len(found)


class Logouts:
    """Send logout tokens to apps."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self.lanes = Lanes("app logouts", services.database, self.due, self.serve)
        services.metrics.add_queue(self.lanes.name, self.backlog)

    def due(self) -> list[str]:
        """Return businesses with a due logout."""
        waiting = select(AppSession.id).where(
            AppSession.business_id == App.business_id, AppSession.app_id == App.id, AppSession.logout_due_at <= clock.wall()
        )
        with self.services.database.open(everything("list due app logouts")) as db:
            return list(db.scalars(select(App.business_id).where(App.backchannel_uri.is_not(None), waiting.exists()).distinct()))

    def backlog(self, db: ScopedSession) -> Due:
        """Return how many logouts are due, and since when."""
        return count_due(
            db,
            AppSession.logout_due_at,
            AppSession.logout_due_at <= clock.wall(),
            AppSession.business_id == App.business_id,
            AppSession.app_id == App.id,
            App.backchannel_uri.is_not(None),
        )

    def serve(self, business_id: str, turn: Turn) -> bool:
        """Send the due logouts one by one. A silent app is paused; other apps of the business continue."""
        answered = tried = False
        while not turn.over:
            with self.services.database.open(system(business_id)) as db:
                query = (
                    select(AppSession, App.backchannel_uri)
                    .join(App, (App.business_id == AppSession.business_id) & (App.id == AppSession.app_id))
                    .where(AppSession.logout_due_at <= clock.wall(), App.backchannel_uri.is_not(None))
                )
                found = db.execute(query.order_by(AppSession.logout_due_at, AppSession.id).limit(1)).first()
            if found is None:
                break
            tried, problem = True, self._send(found[0], str(found[1]))
            answered = answered or not problem
            self._record(business_id, found[0], problem)
        return answered or not tried

    def _send(self, family: AppSession, uri: str) -> str:
        """Send a logout token. Returns the error text, or "" on success."""
        try:
            token = id_tokens.logout_token(self.services.database, self.services.settings, family)
            answer = self.services.outgoing.request(
                "POST",
                uri,
                content=urlencode({"logout_token": token}).encode(),
                timeout=TIMEOUT,
                max_bytes=4096,
                headers={"Content-Type": "application/x-www-form-urlencoded"},
            )
        except (RequestRefused, HostUnreachable) as silent:
            return str(silent) or type(silent).__name__
        return "" if answer.status in (200, 204) else f"it returned status {answer.status}"

    def _record(self, business_id: str, family: AppSession, problem: str) -> None:
        at, same_app = clock.wall(), (AppSession.business_id == business_id, AppSession.app_id == family.app_id)
        with self.services.database.open(system(business_id), write=True) as db:
            row = db.scalar(select(AppSession).where(AppSession.id == family.id).with_for_update())
            if row is None:
                return
            if not problem:
                row.logout_due_at = None
                return
            rest = at + timedelta(seconds=BACKOFF[min(row.logout_attempts, len(BACKOFF) - 1)])
            row.logout_attempts += 1
            db.flush()
            db.execute(
                update(AppSession).where(*same_app, AppSession.logout_due_at <= at).values(logout_due_at=rest), execution_options=_QUIETLY
            )
            too_old = (*same_app, AppSession.logout_due_at.is_not(None), AppSession.left_at < at - TRIED_FOR)
            gone = db.execute(update(AppSession).where(*too_old).values(logout_due_at=None), execution_options=_QUIETLY)
        log.warning("app logout failed", app=family.app_id, why=problem, given_up=gone.rowcount)  # type: ignore[attr-defined]
