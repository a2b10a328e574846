"""The current request: the services it uses, the door it came in by, its visitor, its scope and its one database session.

A door's `before_request` calls, in this order: `enter(Door(…))`, its authentication, `set_visitor(visitor)`, and
`open_for_request(scope)` once. Pages then use `db()` and `core.links.here("invoices")`, and need no other knowledge of doors.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, Protocol

from flask import current_app, g, request
from flask_babel import refresh

from core import read_your_writes
from core.errors import ScopeError
from core.proxies import COUNTRY
from core.request_limits import SAFE_METHODS
from core.scope import Scope
from core.services import Services

if TYPE_CHECKING:
    from core.db import ScopedSession


DoorKind = Literal["unified", "business", "auth", "console"]


class DoorBusiness(Protocol):
    """The attributes of a business that pages at its door show."""

    @property
    def business_id(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def brand(self) -> dict[str, Any]: ...
    @property
    def seller(self) -> str: ...
    @property
    def support_email(self) -> str: ...
    @property
    def terms_url(self) -> str: ...
    @property
    def privacy_url(self) -> str: ...


@dataclass(frozen=True)
class Door:
    """The entrance of a request: unified portal, a business's portal, sign-in, or console.

    `business`: the business whose door it is, None at the unified door. The console belongs to a business too, but has not its look.
    """

    kind: DoorKind
    title: str
    home_url: str = "/"
    business: DoorBusiness | None = None
    business_id: str | None = None
    terms_url: str = ""
    privacy_url: str = ""
    everything_url: str = ""  # at a business's door: the link to the unified portal

    @classmethod
    def of_business(cls, kind: DoorKind, business: DoorBusiness, home_url: str, *, everything_url: str = "") -> Door:
        links = ("", "") if kind == "console" else (business.terms_url, business.privacy_url)
        return cls(kind, business.name, home_url, business, business.business_id, *links, everything_url)

    @property
    def _shown(self) -> DoorBusiness | None:
        return None if self.kind == "console" else self.business

    @property
    def brand(self) -> dict[str, Any] | None:
        """The stored settings of the business's brand (core/brand.py); None at a door without a brand."""
        return self._shown.brand if self._shown else None

    @property
    def seller(self) -> str:
        """The legal name and town of the business, for the footer."""
        return self._shown.seller if self._shown else ""

    @property
    def support_email(self) -> str:
        return self._shown.support_email if self._shown else ""


class Visitor(Protocol):
    """The person who is signed in."""

    @property
    def name(self) -> str: ...
    @property
    def email(self) -> str: ...


def services() -> Services:
    """Return the services of the current application."""
    found: Services = current_app.extensions["portal"]
    return found


def enter(door: Door) -> None:
    """Set the door of this request."""
    g.door = door
    g.pop("formatter", None)  # the door decides the languages
    refresh()


def set_visitor(visitor: Any) -> None:
    """Set the visitor: an object with `.name`, `.email` and optionally `.locale` and `.zone`, or None."""
    g.visitor = visitor
    g.pop("formatter", None)  # the visitor decides language and zone
    refresh()


def current_door() -> Door:
    """Return the door of this request; the sign-in door if none was set (unknown paths, early errors)."""
    door: Door | None = g.get("door")
    return door or Door(kind="auth", title=services().settings.name)


def open_for_request(scope: Scope, *, reads_only: bool = False) -> None:
    """Set the scope of this request. The session opens at the first `db()`. A second call raises ScopeError.

    `reads_only`: the session cannot write, whatever the method.
    """
    if "scope" in g:
        raise ScopeError("this request already has a scope")
    if scope.actor.type == "customer":
        scope = replace(scope, actor=replace(scope.actor, country=request.environ.get(COUNTRY)))
    g.scope, g.reads_only = scope, reads_only


def db(*, replica: bool = False) -> ScopedSession:
    """Return the request's session. It can write for unsafe methods, and is committed if the response status is below 400.

    `replica=True`: the page accepts rows from the replica; only the first call of a request decides. A visitor who has just
    changed something reads from the primary.
    """
    if "session" not in g:
        if "scope" not in g:
            raise ScopeError("db() before open_for_request()")
        replica = replica and not g.get("replica_failed") and not read_your_writes.changed_recently()
        g.session = services().database.session(g.scope, replica=replica, write=request.method not in SAFE_METHODS and not g.reads_only)
    opened: ScopedSession = g.session
    return opened


def scope() -> Scope:
    """Return the scope of this request, for commands that open their own sessions around gateway calls."""
    if "scope" not in g:
        raise ScopeError("scope() before open_for_request()")
    found: Scope = g.scope
    return found


def undo() -> None:
    """Roll back and close the request's session now, so that the caller can write in a separate session."""
    opened = g.pop("session", None)
    if opened is not None:
        opened.close()  # closing rolls back
