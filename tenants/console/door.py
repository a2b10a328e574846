"""The staff's door: who it is, what they are at this business (read again on every request), and whether they may.

Every view says its verb: `@needs("customers.read")`. What safety 2.7 names also says `@fresh`: it wants a proof younger than
thirty minutes. A stranger gets 404, a role that is not enough 403. Pages never see the business's id in their arguments.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import urlencode, urlsplit

from flask import Blueprint, current_app, flash, g, redirect, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from werkzeug.exceptions import HTTPException

from auth import sessions
from core.errors import Forbidden, NotFound, ScopeError
from core.scope import nobody, staff
from core.security import safe_next
from core.web import Door, enter, greet, house, open_for_request
from portal.visitor import Reader
from tenants import team
from tenants.roles import VERBS
from tenants.team import Member

View = TypeVar("View", bound=Callable[..., Any])

bp = Blueprint("console", __name__, url_prefix="/console")


def needs(verb: str) -> Callable[[View], View]:
    """Say which verb of `tenants.roles` this view is."""
    if verb not in VERBS:
        raise KeyError(verb)

    def mark(view: View) -> View:
        view._needs = verb  # type: ignore[attr-defined]
        return view

    return mark


def lobby(view: View) -> View:
    """For the few pages before a business is chosen: any signed-in person, no row of any business."""
    view._lobby = True  # type: ignore[attr-defined]
    return view


def fresh(view: View) -> View:
    """Ask for a proof of the person younger than thirty minutes first. Put it on the form's page as well as on what it posts to."""
    view._fresh = True  # type: ignore[attr-defined]
    return view


@bp.url_value_preprocessor
def take_business(_endpoint: str | None, values: dict[str, Any] | None) -> None:
    g.business_id = (values or {}).pop("business_id", None)


@bp.url_defaults
def put_business(_endpoint: str, values: dict[str, Any]) -> None:
    if g.get("business_id"):
        values.setdefault("business_id", g.business_id)


@bp.before_request
def open_the_door() -> ResponseReturnValue | None:
    view = current_app.view_functions[request.endpoint or ""]
    if not getattr(view, "_lobby", False):
        turned_away = come_in(str(g.business_id))
        if turned_away is None:
            open_for_request(staff(me().business_id, me().id))
            turned_away = check(view)
        return turned_away
    enter(Door(kind="console", title=_("Console"), home_url="/console"))
    visit = sessions.current()
    if visit is None or not visit.is_person:
        return redirect(_sign_in(), 303)
    greet(Reader(visit.person_name or visit.primary_email, visit.primary_email, visit.locale, visit.zone))
    open_for_request(nobody())
    return None


def come_in(business_id: str) -> ResponseReturnValue | None:
    """Find out who it is and what they are here: `me()` from then on. The way to the sign-in page for nobody; NotFound for a stranger."""
    enter(Door(kind="console", title=_("Console"), home_url="/console"))
    visit = sessions.current()
    if visit is None or not visit.is_person:
        return redirect(_sign_in(), 303)
    found = team.member(house().database, visit, business_id)
    if found is None:
        raise NotFound()
    g.member = found
    enter(Door(kind="console", title=found.face.name, home_url=f"/console/{found.business_id}", business=found.face,
               business_id=found.business_id))
    greet(Reader(visit.person_name or visit.primary_email, visit.primary_email, visit.locale, visit.zone or found.face.zone))
    return None


def check(view: Any) -> ResponseReturnValue | None:
    """May this member open this view, and is their proof young enough for it?"""
    verb = getattr(view, "_needs", None)
    if verb is None:
        raise ScopeError(f"{request.endpoint} does not say what it needs")
    if not me().may(verb):
        raise Forbidden(sentence=_("Your role here does not include this. An owner can give you another one, under Team."))
    visit = sessions.current()
    if getattr(view, "_fresh", False) and (visit is None or not sessions.proved_within(visit)):
        flash(_("Please show once more that it is you. Nothing was done yet; you come back to where you were."), "wait")
        return redirect(sessions.fresh_proof_url(_back()), 303)
    return None


def me() -> Member:
    """The staff member of this request."""
    found: Member = g.member
    return found


def _back() -> str:
    """Where to go on after the proof: this page, or for a form the page it was on."""
    if request.method == "GET":
        return request.full_path.rstrip("?")
    came = urlsplit(request.referrer or "")
    path = safe_next(came.path + (f"?{came.query}" if came.query else ""), default="")
    if path.startswith(f"/console/{g.business_id}/") and _is_page(came.path):
        return path
    return request.path if _is_page(request.path) else f"/console/{g.business_id}"


def _is_page(path: str) -> bool:
    try:
        current_app.url_map.bind("").match(path, "GET")
    except HTTPException:
        return False
    return True


def _sign_in() -> str:
    return "/login?" + urlencode({"next": request.full_path.rstrip("?") if request.method == "GET" else "/console"})
