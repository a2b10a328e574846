"""Logout: when somebody's session here ends, in whatever way, the apps it signed in to are told (Back-Channel Logout 1.0).

`sweep` finds sessions that ended and makes their logout due; `Logouts` tells the apps, in lanes of its own (core/lanes.py):
an app that never answers delays the logouts of its own business, and nothing else.
"""

from __future__ import annotations

from datetime import timedelta
from urllib.parse import urlencode

import structlog
from sqlalchemy import delete, select, update

from auth.models import BrowserSession, Grant
from auth.provider import saying
from auth.provider.issuing import grant_lives
from auth.provider.models import App, AppSession, AppToken
from core import clock, turns
from core.db import Database
from core.lanes import Lanes, Turn
from core.outbox import emit
from core.outgoing import Refused, Unreachable
from core.scope import Actor, everything, system
from core.web import House

log = structlog.get_logger()
AT_ONCE, A_DAY = 200, timedelta(days=1)
_QUIETLY = {"synchronize_session": False}
TRIED_FOR = timedelta(hours=2)
"""How long an app that does not answer is told. Its own session ends by then, and its tokens have ended already."""
BACKOFF = (5, 30, 120, 600, 1800)
"""Seconds until an app that did not answer is tried again."""
TIMEOUT = 5.0  # seconds for the whole answer


def sweep(database: Database) -> int:
    """Find what has ended since the last look, make its logout due, and forget tokens that ran out. Returns how many ended.

    Businesses take turns.
    """
    at = clock.wall()
    over = (
        select(AppSession.business_id, AppSession.id)
        .join(App, (App.business_id == AppSession.business_id) & (App.id == AppSession.app_id))
        .outerjoin(Grant, Grant.id == AppSession.grant_id).outerjoin(BrowserSession, BrowserSession.id == Grant.session_id)
        .where(AppSession.left_at.is_(None), AppSession.expires_at > at, AppSession.code_used_at.is_not(None),
               App.backchannel_uri.is_not(None),  # who listens; for the others a token that is asked about says it
               AppSession.ended_at.is_not(None) | Grant.id.is_(None) | BrowserSession.id.is_(None) | ~grant_lives())
    )
    old = select(AppToken.id).where(AppToken.expires_at < at)
    with database.open(everything("look for sessions that ended")) as db:
        if db.execute(over.limit(1)).first() is None and db.scalar(old.limit(1)) is None:
            return 0
        ids = [one[1] for one in db.execute(turns.in_turns(over, AppSession.business_id, AppSession.id, limit=AT_ONCE))]
        tokens = list(db.scalars(old.limit(AT_ONCE)))
        families = list(db.scalars(select(AppSession.id).where(AppSession.expires_at < at - A_DAY).limit(AT_ONCE)))
    with database.open(everything("sessions of apps end"), write=True) as db:
        found = list(db.scalars(select(AppSession).where(AppSession.id.in_(ids), AppSession.left_at.is_(None)))) if ids else []
        for one in found:
            one.left_at = one.logout_due_at = at
            emit(db, "app.session_left", business_id=one.business_id, customer_id=one.customer_id, noun=one.id,
                 data={"app_id": one.app_id}, actor=Actor("system"))
        if tokens:
            db.execute(delete(AppToken).where(AppToken.id.in_(tokens), AppToken.expires_at < at), execution_options=_QUIETLY)
        if families:
            db.execute(delete(AppToken).where(AppToken.app_session_id.in_(families)), execution_options=_QUIETLY)
            db.execute(delete(AppSession).where(AppSession.id.in_(families)), execution_options=_QUIETLY)
        return len(found)


class Logouts:
    """Hands apps their logout tokens."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.lanes = Lanes("app logouts", house.database, self.due, self.serve)

    def due(self) -> list[str]:
        """Businesses that have an app to tell."""
        waiting = select(AppSession.id).where(AppSession.business_id == App.business_id, AppSession.app_id == App.id,
                                              AppSession.logout_due_at <= clock.wall())
        with self.house.database.open(everything("which apps are to be told of a logout")) as db:
            return list(db.scalars(select(App.business_id).where(App.backchannel_uri.is_not(None), waiting.exists()).distinct()))

    def serve(self, business_id: str, turn: Turn) -> bool:
        """One logout after the other. An app that does not answer rests; its business's other apps go on."""
        answered = tried = False
        while not turn.over:
            with self.house.database.open(system(business_id)) as db:
                query = (select(AppSession, App.backchannel_uri)
                         .join(App, (App.business_id == AppSession.business_id) & (App.id == AppSession.app_id))
                         .where(AppSession.logout_due_at <= clock.wall(), App.backchannel_uri.is_not(None)))
                found = db.execute(query.order_by(AppSession.logout_due_at, AppSession.id).limit(1)).first()
            if found is None:
                break
            tried, problem = True, self._send(found[0], str(found[1]))
            answered = answered or not problem
            self._record(business_id, found[0], problem)
        return answered or not tried

    def _send(self, family: AppSession, uri: str) -> str:
        """Returns what went wrong, or ""."""
        try:
            token = saying.logout_token(self.house.database, self.house.settings, family)
            answer = self.house.outgoing.request(
                "POST", uri, content=urlencode({"logout_token": token}).encode(), timeout=TIMEOUT, max_bytes=4096,
                headers={"Content-Type": "application/x-www-form-urlencoded"})
        except (Refused, Unreachable) as silent:
            return str(silent) or type(silent).__name__
        return "" if answer.status in (200, 204) else f"it answered {answer.status}"

    def _record(self, business_id: str, family: AppSession, problem: str) -> None:
        at, same_app = clock.wall(), (AppSession.business_id == business_id, AppSession.app_id == family.app_id)
        with self.house.database.open(system(business_id), write=True) as db:
            row = db.scalar(select(AppSession).where(AppSession.id == family.id).with_for_update())
            if row is None:
                return
            if not problem:
                row.logout_due_at = None
                return
            rest = at + timedelta(seconds=BACKOFF[min(row.logout_attempts, len(BACKOFF) - 1)])
            row.logout_attempts += 1
            db.flush()
            db.execute(update(AppSession).where(*same_app, AppSession.logout_due_at <= at).values(logout_due_at=rest),
                       execution_options=_QUIETLY)
            too_old = (*same_app, AppSession.logout_due_at.is_not(None), AppSession.left_at < at - TRIED_FOR)
            gone = db.execute(update(AppSession).where(*too_old).values(logout_due_at=None), execution_options=_QUIETLY)
        log.warning("an app was not told of a logout", app=family.app_id, why=problem, given_up=gone.rowcount)  # type: ignore[attr-defined]
