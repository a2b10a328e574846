"""A business's apps, registered by its owners. A secret is shown once and stored as a keyed hash."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from sqlalchemy import func, select, update

from auth import tokens
from auth.oidc_server.models import App, AppSession
from core import clock, ids
from core.db import ScopedSession
from core.domain_names import LOOPBACK
from core.errors import N_, Conflict, Invalid, NotFound
from core.outbox import emit
from core.outgoing import Outgoing, RequestRefused
from core.settings import Settings

MAX_APPS, MAX_URIS = 20, 10


@dataclass(frozen=True)
class AppForm:
    """Input of the form; one URI per line."""

    name: str
    redirect_uris: str
    post_logout_uris: str
    backchannel_uri: str


def of_business(db: ScopedSession) -> list[App]:
    """Return the business's apps, newest first. `db` is the staff's own session."""
    return list(db.scalars(select(App).where(App.removed_at.is_(None)).order_by(App.created_at.desc(), App.id)))


def find(db: ScopedSession, app_id: str) -> App:
    row = db.scalar(select(App).where(App.id == app_id, App.removed_at.is_(None)))
    if row is None:
        raise NotFound()
    return row


def add(
    db: ScopedSession, settings: Settings, outgoing: Outgoing, business_id: str, form: AppForm, *, public: bool
) -> tuple[App, str | None]:
    """Register an app. Returns it with its secret, which is not stored; None for a public app. Raises Invalid, Conflict."""
    name, redirect_uris, post_logout_uris, backchannel_uri = _checked(settings, outgoing, form)
    if (db.scalar(select(func.count(App.id)).where(App.removed_at.is_(None))) or 0) >= MAX_APPS:
        raise Conflict("TOO_MANY_APPS", N_("You have twenty apps. Remove one first."))
    secret = None if public else ids.secret_token()
    row = App(
        business_id=business_id,
        id=ids.new_id("app"),
        name=name,
        secret_hash=_hash(settings, secret),
        redirect_uris=redirect_uris,
        post_logout_uris=post_logout_uris,
        backchannel_uri=backchannel_uri,
        created_at=clock.wall(),
        removed_at=None,
    )
    db.add(row)
    emit(db, "app.created", business_id=business_id, noun=row.id, data={"name": name})
    return row, secret


def change(db: ScopedSession, settings: Settings, outgoing: Outgoing, app_id: str, form: AppForm) -> App:
    row = find(db, app_id)
    row.name, row.redirect_uris, row.post_logout_uris, row.backchannel_uri = _checked(settings, outgoing, form)
    emit(db, "app.changed", business_id=row.business_id, noun=row.id, data={"name": row.name})
    return row


def renew_secret(db: ScopedSession, settings: Settings, app_id: str) -> tuple[App, str]:
    """Replace the secret. The old one is invalid from the next request on. Raises NotFound for a public app, which has none."""
    row = find(db, app_id)
    if row.is_public:
        raise NotFound()
    secret = ids.secret_token()
    row.secret_hash = _hash(settings, secret)
    emit(db, "app.secret_changed", business_id=row.business_id, noun=row.id, data={"name": row.name})
    return row, secret


def remove(db: ScopedSession, app_id: str) -> App:
    """Remove an app and end its sessions."""
    row = find(db, app_id)
    row.removed_at = clock.wall()
    db.execute(
        update(AppSession).where(AppSession.app_id == row.id, AppSession.ended_at.is_(None)).values(ended_at=clock.wall()),
        execution_options={"synchronize_session": False},
    )
    emit(db, "app.removed", business_id=row.business_id, noun=row.id, data={"name": row.name})
    return row


def _hash(settings: Settings, secret: str | None) -> str | None:
    return tokens.hashed(settings, "app-secret", secret) if secret else None


def _checked(settings: Settings, outgoing: Outgoing, form: AppForm) -> tuple[str, list[str], list[str], str | None]:
    name, backchannel = " ".join(form.name.split()), form.backchannel_uri.strip()
    redirects, after = form.redirect_uris.split(), form.post_logout_uris.split()
    errors = {}
    if not 0 < len(name) <= 60 or not name.isprintable():
        errors["name"] = N_("Enter the app's name as your customers know it, in 60 characters or fewer.")
    if not 0 < len(redirects) <= MAX_URIS or not all(is_allowed_uri(settings, uri) for uri in redirects):
        errors["redirect_uris"] = N_("Enter one to ten full URLs, one per line, starting with https:// and without a #.")
    if len(after) > MAX_URIS or not all(is_allowed_uri(settings, uri) for uri in after):
        errors["post_logout_uris"] = N_("Enter full URLs, one per line, starting with https:// and without a #.")
    try:
        if backchannel:
            outgoing.check(backchannel)
    except RequestRefused:
        errors["backchannel_uri"] = N_("Enter a full URL that starts with https:// and is reachable from the internet.")
    if errors:
        raise Invalid(fields=errors)
    return name, list(dict.fromkeys(redirects)), list(dict.fromkeys(after)), backchannel or None


def is_allowed_uri(settings: Settings, uri: str) -> bool:
    """Return whether this is an exact https URI; in test mode also http on loopback. No pattern, fragment or credentials."""
    try:
        parts = urlsplit(uri)
        host = parts.hostname or ""
        _ = parts.port
    except ValueError:
        return False
    plain = uri.isascii() and uri.isprintable() and not set(uri) & set('"\\<>*#@ ') and len(uri) <= 1000
    return bool(plain and host and (parts.scheme == "https" or (parts.scheme == "http" and settings.is_test and host in LOOPBACK)))
