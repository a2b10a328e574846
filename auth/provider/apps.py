"""A business's apps, as its owners register them. A secret is shown once; what is kept is a keyed hash."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from sqlalchemy import func, select, update

from auth import tokens
from auth.provider.models import App, AppSession
from core import clock, ids
from core.db import ScopedSession
from core.errors import Conflict, Invalid, NotFound
from core.outbox import emit
from core.outgoing import Outgoing, Refused
from core.settings import Settings
from core.web import LOOPBACK

MOST_APPS, MOST_ADDRESSES = 20, 10


@dataclass(frozen=True)
class Wish:
    """What the form says; addresses one a line."""

    name: str
    redirect_uris: str
    post_logout_uris: str
    backchannel_uri: str


def of_business(db: ScopedSession) -> list[App]:
    """In the staff's own session."""
    return list(db.scalars(select(App).where(App.removed_at.is_(None)).order_by(App.created_at.desc(), App.id)))


def find(db: ScopedSession, app_id: str) -> App:
    row = db.scalar(select(App).where(App.id == app_id, App.removed_at.is_(None)))
    if row is None:
        raise NotFound()
    return row


def add(db: ScopedSession, settings: Settings, outgoing: Outgoing, business_id: str, wish: Wish, *, public: bool) -> tuple[App, str | None]:
    """The app and its secret, which exists nowhere else from here on; None for a public one. Raises Invalid, Conflict."""
    name, redirect_uris, post_logout_uris, backchannel_uri = _checked(settings, outgoing, wish)
    if (db.scalar(select(func.count(App.id)).where(App.removed_at.is_(None))) or 0) >= MOST_APPS:
        raise Conflict("TOO_MANY_APPS", "There are twenty apps already; remove one first.")
    secret = None if public else ids.secret_token()
    row = App(business_id=business_id, id=ids.new_id("app"), name=name, secret_hash=_hash(settings, secret), redirect_uris=redirect_uris,
              post_logout_uris=post_logout_uris, backchannel_uri=backchannel_uri, created_at=clock.wall(), removed_at=None)
    db.add(row)
    emit(db, "app.created", business_id=business_id, noun=row.id, data={"name": name})
    return row, secret


def change(db: ScopedSession, settings: Settings, outgoing: Outgoing, app_id: str, wish: Wish) -> App:
    row = find(db, app_id)
    row.name, row.redirect_uris, row.post_logout_uris, row.backchannel_uri = _checked(settings, outgoing, wish)
    emit(db, "app.changed", business_id=row.business_id, noun=row.id, data={"name": row.name})
    return row


def renew_secret(db: ScopedSession, settings: Settings, app_id: str) -> tuple[App, str]:
    """The old secret is nobody's from the next request on. Raises NotFound for a public app, which has none."""
    row = find(db, app_id)
    if row.is_public:
        raise NotFound()
    secret = ids.secret_token()
    row.secret_hash = _hash(settings, secret)
    emit(db, "app.secret_changed", business_id=row.business_id, noun=row.id, data={"name": row.name})
    return row, secret


def remove(db: ScopedSession, app_id: str) -> App:
    """Nobody signs in to it any more, and what it holds ends."""
    row = find(db, app_id)
    row.removed_at = clock.wall()
    db.execute(update(AppSession).where(AppSession.app_id == row.id, AppSession.ended_at.is_(None)).values(ended_at=clock.wall()),
               execution_options={"synchronize_session": False})
    emit(db, "app.removed", business_id=row.business_id, noun=row.id, data={"name": row.name})
    return row


def _hash(settings: Settings, secret: str | None) -> str | None:
    return tokens.hashed(settings, "app-secret", secret) if secret else None


def _checked(settings: Settings, outgoing: Outgoing, wish: Wish) -> tuple[str, list[str], list[str], str | None]:
    name, backchannel = " ".join(wish.name.split()), wish.backchannel_uri.strip()
    redirects, after = wish.redirect_uris.split(), wish.post_logout_uris.split()
    wrong = {}
    if not 0 < len(name) <= 60 or not name.isprintable():
        wrong["name"] = "Give the name that your customers know the app by, in 60 characters or fewer."
    if not 0 < len(redirects) <= MOST_ADDRESSES or not all(is_address(settings, one) for one in redirects):
        wrong["redirect_uris"] = "Give one to ten full addresses, one a line, beginning with https:// and without a #."
    if len(after) > MOST_ADDRESSES or not all(is_address(settings, one) for one in after):
        wrong["post_logout_uris"] = "Give full addresses, one a line, beginning with https:// and without a #."
    try:
        if backchannel:
            outgoing.check(backchannel)
    except Refused:
        wrong["backchannel_uri"] = "Give a full address beginning with https:// that the internet can reach."
    if wrong:
        raise Invalid(fields=wrong)
    return name, list(dict.fromkeys(redirects)), list(dict.fromkeys(after)), backchannel or None


def is_address(settings: Settings, uri: str) -> bool:
    """An exact https address; in test mode also http on this machine. No pattern, no fragment, no name or password."""
    try:
        parts = urlsplit(uri)
        host = parts.hostname or ""
        _ = parts.port
    except ValueError:
        return False
    plain = uri.isascii() and uri.isprintable() and not set(uri) & set('"\\<>*#@ ') and len(uri) <= 1000
    return bool(plain and host and (parts.scheme == "https" or (parts.scheme == "http" and settings.is_test and host in LOOPBACK)))
