"""Logout: when somebody's session here ends, in whatever way, the apps it signed in to are told (Back-Channel Logout 1.0)."""

from __future__ import annotations

from datetime import timedelta
from urllib.parse import urlencode

import structlog
from sqlalchemy import delete, select

from auth.models import BrowserSession, Grant
from auth.provider import saying
from auth.provider.issuing import grant_lives
from auth.provider.models import App, AppSession, AppToken
from core import clock
from core.db import Database
from core.outbox import emit
from core.outgoing import Refused, Unreachable
from core.scope import Actor, everything
from core.web import House
from core.worker import Work

log = structlog.get_logger()
AT_ONCE, A_DAY = 200, timedelta(days=1)
_QUIETLY = {"synchronize_session": False}
TRIED_FOR = timedelta(hours=2)
"""How long an app that does not answer is told. Its own session ends by then, and its tokens have ended already."""


class NotHeard(RuntimeError):
    """The app did not take the logout token; the worker tries again."""


def sweep(database: Database) -> int:
    """Find what has ended since the last look, leave word for the apps, and forget tokens that ran out. Returns how many ended."""
    at = clock.wall()
    over = (
        select(AppSession).join(App, (App.business_id == AppSession.business_id) & (App.id == AppSession.app_id))
        .outerjoin(Grant, Grant.id == AppSession.grant_id).outerjoin(BrowserSession, BrowserSession.id == Grant.session_id)
        .where(AppSession.left_at.is_(None), AppSession.expires_at > at, AppSession.code_used_at.is_not(None),
               App.backchannel_uri.is_not(None),  # who listens; for the others a token that is asked about says it
               AppSession.ended_at.is_not(None) | Grant.id.is_(None) | BrowserSession.id.is_(None) | ~grant_lives())
        .limit(AT_ONCE)
    )
    old = select(AppToken.id).where(AppToken.expires_at < at).limit(1)
    with database.open(everything("look for sessions that ended")) as db:
        if db.scalar(over.limit(1)) is None and db.scalar(old) is None:
            return 0
    with database.open(everything("sessions of apps end"), write=True) as db:
        found = list(db.scalars(over))
        for one in found:
            one.left_at = at
            emit(db, "app.session_left", business_id=one.business_id, customer_id=one.customer_id, noun=one.id,
                 data={"app_id": one.app_id}, actor=Actor("system"))
        db.execute(delete(AppToken).where(AppToken.expires_at < at), execution_options=_QUIETLY)
        db.execute(delete(AppSession).where(AppSession.expires_at < at - A_DAY), execution_options=_QUIETLY)
        return len(found)


def tell(house: House, work: Work) -> None:
    """Hand the app a signed logout token. Raises NotHeard."""
    query = (select(AppSession, App.backchannel_uri).join(App, (App.business_id == AppSession.business_id) & (App.id == AppSession.app_id))
             .where(AppSession.business_id == work.business_id, AppSession.id == work.noun_id))
    with house.database.open(everything("which app is told of a logout")) as db:
        found = db.execute(query).first()
    if found is None or not found[1]:
        return
    family, uri = found
    token = saying.logout_token(house.database, house.settings, family)
    try:
        answer = house.outgoing.request("POST", uri, content=urlencode({"logout_token": token}).encode(), timeout=5.0, max_bytes=4096,
                                        headers={"Content-Type": "application/x-www-form-urlencoded"})
        problem = "" if answer.status in (200, 204) else f"it answered {answer.status}"
    except Refused as refused:
        log.warning("an app cannot be told of a logout", app=family.app_id, why=str(refused))
        return
    except Unreachable as silent:
        problem = str(silent)
    if problem and (family.left_at or clock.wall()) > clock.wall() - TRIED_FOR:
        raise NotHeard(problem)
    if problem:
        log.warning("an app was not told of a logout", app=family.app_id, why=problem)
