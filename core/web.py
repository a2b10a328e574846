"""The web edge: the house a request is in, the door it came through, its one database session, and links within the door.

A door's `before_request` does, in this order: `enter(Door(…))`, find out who it is, `greet(visitor)`,
`open_for_request(scope)` once. Pages then use `db()` and `here("invoices")` and know nothing else about doors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol
from urllib.parse import urlsplit

from flask import Flask, Response, current_app, g, has_request_context, request, url_for
from flask_babel import refresh

from core import freshness
from core.bounds import SAFE_METHODS as SAFE_METHODS
from core.errors import Misdirected, ScopeError
from core.scope import Scope
from core.security import is_api

if TYPE_CHECKING:
    from core.db import Database, ScopedSession
    from core.settings import Settings

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


@dataclass
class House:
    """What wsgi.py wired together; one per application."""

    settings: Settings
    database: Database
    gateway: Any = None
    worker: Any = None
    till: Any = None
    handlers: Any = None
    mailer: Any = None
    documents: Any = None
    forwarder: Any = None  # acts on what another billing system collects
    outgoing: Any = None
    domain_of: Any = None  # host name → the verified domain of a business, or None


@dataclass(frozen=True)
class Door:
    """Where a request came in. `brand` is what the business stored (see core.brand), None at the unified door.

    `business` is anything with `.name` and maybe `.logo_url`, `.accent`: what the `mark` macro draws.
    `seller` is one line for the footer: legal name and town.
    """

    kind: Literal["unified", "business", "auth", "console"]
    title: str
    home_url: str = "/"
    brand: dict[str, Any] | None = None
    business: Any = None
    business_id: str | None = None
    seller: str = ""
    support_email: str = ""
    terms_url: str = ""
    privacy_url: str = ""
    everything_url: str = ""  # at a business's door: where one sees every business


class Visitor(Protocol):
    """Who is signed in, as far as a page needs to know."""

    @property
    def name(self) -> str: ...
    @property
    def email(self) -> str: ...


def house() -> House:
    """The current application's house."""
    found: House = current_app.extensions["portal"]
    return found


def enter(door: Door) -> None:
    """Say which door this request came through."""
    g.door = door
    g.pop("words", None)  # its languages, from here on
    refresh()


def greet(visitor: Any) -> None:
    """Say who it is: anything with `.name`, `.email`, and where known `.locale`, `.zone`; None for nobody."""
    g.visitor = visitor
    g.pop("words", None)  # their language and zone, from here on
    refresh()


def the_door() -> Door:
    """The door entered, or the plain sign-in door where none was (unknown paths, errors before a door)."""
    door: Door | None = g.get("door")
    return door or Door(kind="auth", title=house().settings.name)


def open_for_request(scope: Scope, *, reads_only: bool = False) -> None:
    """Set whose rows this request sees, once; the session itself opens at the first `db()`. A second call raises.

    `reads_only`: its session refuses to write, whatever the method.
    """
    if "scope" in g:
        raise ScopeError("this request already has a scope; a session is narrowed once")
    g.scope, g.reads_only = scope, reads_only


def db(*, replica: bool = False) -> ScopedSession:
    """The request's session: it writes for unsafe methods, and is committed when the answer is below 400.

    `replica=True` lets a reading page accept rows a moment old; only the first call of a request decides. Somebody who has just
    changed something reads from the primary.
    """
    if "session" not in g:
        if "scope" not in g:
            raise ScopeError("db() before a door opened this request")
        replica = replica and not g.get("replica_failed") and not freshness.changed_recently()
        g.session = house().database.session(g.scope, replica=replica,
                                              write=request.method not in SAFE_METHODS and not g.reads_only)
    opened: ScopedSession = g.session
    return opened


def scope() -> Scope:
    """Whose rows this request sees: for commands that open their own sessions, so that no gateway is asked within ours."""
    if "scope" not in g:
        raise ScopeError("scope() before a door opened this request")
    found: Scope = g.scope
    return found


def here(endpoint: str, **values: Any) -> str:
    """A link that stays inside the door one came through: `here("invoices")` works at both doors, and on sign-in pages.

    Order: the customer pages of this door, the door's own pages, then any endpoint by its full name. Raises BuildError.
    """
    full = _resolve(endpoint)
    door: Door | None = g.get("door")
    if door and door.business_id and "business_id" not in values and current_app.url_map.is_endpoint_expecting(full, "business_id"):
        values["business_id"] = door.business_id
    return url_for(full, **values)


def exists_here(endpoint: str) -> bool:
    return _resolve(endpoint) in current_app.view_functions


def _resolve(endpoint: str) -> str:
    door: Door | None = g.get("door")
    root = (request.blueprint or "").split(".")[0] if has_request_context() else ""
    if root not in ("unified", "business", "view_as"):
        root = "business" if door and door.kind == "business" else "unified"
    known = current_app.view_functions
    return next((name for name in (f"{root}.portal.{endpoint}", f"{root}.{endpoint}") if name in known), endpoint)


def external(path: str) -> str:
    """An absolute URL from a path: built from settings, never from the request's Host (safety 2.10)."""
    return house().settings.base_url + path


def is_operator() -> bool:
    """A loopback deployment asked over a loopback Host, or somebody with the operator secret (header or cookie)."""
    import hmac

    settings = house().settings
    shown = request.headers.get("X-Operator-Secret", "") or request.cookies.get("operator", "")
    if settings.operator_secret and hmac.compare_digest(shown.encode(), settings.operator_secret.encode()):
        return True
    return settings.is_loopback and _hostname(request.host) in LOOPBACK


def register(app: Flask, house: House) -> None:
    """Hang the house on the application, with everything every page needs: session edge, hosts, words, headers, errors."""
    from core import bounds, faults, health, i18n, log, mailbox_pages, pages, proxies, redirects, security

    settings = house.settings
    app.extensions["portal"] = house
    app.wsgi_app = proxies.Peeled(app.wsgi_app, settings.trusted_proxies)  # type: ignore[method-assign]
    bounds.init(app)
    app.before_request(_check_host)
    app.after_request(_settle)
    app.teardown_request(_abandon)
    log.init(app, settings)
    i18n.init(app, settings)
    security.init(app, settings)
    redirects.init(app)
    faults.init(app)
    pages.init(app)
    health.init(app)
    if settings.is_test:  # safety 2.9: in live mode these pages do not exist
        mailbox_pages.init(app)


def _check_host() -> None:
    settings = house().settings
    if request.path in ("/healthz", "/readyz"):  # probes call by address; these pages hold no links and no person
        return
    if request.host == settings.host or (settings.is_test and _hostname(request.host) in LOOPBACK):
        return
    g.domain = _domain(settings)
    if g.domain is None:
        raise Misdirected()


def _domain(settings: Settings) -> Any:
    """The business's own domain this request came to, at the port that the portal is reached by."""
    found = urlsplit("//" + request.host)
    if house().domain_of is None or not found.hostname or found.port != urlsplit(settings.base_url).port:
        return None
    return house().domain_of(found.hostname)


def _hostname(host: str) -> str:
    return urlsplit("//" + host).hostname or ""


def _settle(response: Response) -> Response:
    """Commit what the page did if it answers well, else undo it. Rows are gone from here on: pages do not stream them."""
    opened = g.pop("session", None)
    if opened is not None:
        try:
            if response.status_code < 400 and request.method not in SAFE_METHODS:
                opened.commit()
        finally:
            opened.close()  # what was not committed is undone
    if request.method not in SAFE_METHODS and not is_api(request.path) and getattr(house().database, "replica", None) is not None:
        freshness.note_change()
    if request.method not in SAFE_METHODS and house().worker is not None:
        house().worker.wake()  # what was written is carried on at once, where the worker is a thread of this process
    return response


def undo() -> None:
    """What this request wrote is undone at once, for who has to write about it in a session of its own."""
    opened = g.pop("session", None)
    if opened is not None:
        opened.close()  # closing rolls back


def _abandon(_why: BaseException | None) -> None:
    undo()
