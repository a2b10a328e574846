"""Access control of the console. Identity, membership and role are read again on every request.

Every view declares its permission, such as `@needs("customers.read")`. The views named in safety 2.7 also declare
`@needs_fresh_proof`: they require a sign-in within the last thirty minutes. Non-members get 404; members whose role does not
allow the view get 403. Views never receive the business ID.
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
from core.request_context import Door, enter, open_for_request, services, set_visitor
from core.scope import nobody, staff
from core.security import safe_next
from portal.reader import Reader
from tenants import team
from tenants.roles import VERBS
from tenants.team import Member

View = TypeVar("View", bound=Callable[..., Any])

bp = Blueprint("console", __name__, url_prefix="/console")


def needs(verb: str) -> Callable[[View], View]:
    """Declare the permission of `tenants.roles` that the view requires. Raises KeyError for an unknown one."""
    if verb not in VERBS:
        raise KeyError(verb)

    def mark(view: View) -> View:
        view._needs = verb  # type: ignore[attr-defined]
        return view

    return mark


def outside_business(view: View) -> View:
    """Declare that the view is outside of any business: open to every signed-in person, without rows of a business."""
    view._outside_business = True  # type: ignore[attr-defined]
    return view


def needs_fresh_proof(view: View) -> View:
    """Require a sign-in within the last thirty minutes. Apply it to the page of a form and to the view the form posts to."""
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
def authorize_request() -> ResponseReturnValue | None:
    view = current_app.view_functions[request.endpoint or ""]
    if not getattr(view, "_outside_business", False):
        redirection = load_member(str(g.business_id))
        if redirection is None:
            open_for_request(staff(current_member().business_id, current_member().id))
            redirection = check(view)
        return redirection
    enter(Door(kind="console", title=_("Console"), home_url="/console"))
    visit = sessions.current_visit()
    if visit is None or not visit.is_person:
        return redirect(_sign_in(), 303)
    set_visitor(Reader(visit.person_name or visit.primary_email, visit.primary_email, visit.locale, visit.zone))
    open_for_request(nobody())
    return None


def load_member(business_id: str) -> ResponseReturnValue | None:
    """Load the signed-in member of this business for `current_member()`.

    Return a redirect to the sign-in page if nobody is signed in. Raises NotFound if the person is not a member.
    """
    enter(Door(kind="console", title=_("Console"), home_url="/console"))
    visit = sessions.current_visit()
    if visit is None or not visit.is_person:
        return redirect(_sign_in(), 303)
    found = team.member(services().database, visit, business_id)
    if found is None:
        raise NotFound()
    g.member = found
    enter(Door.of_business("console", found.profile, f"/console/{found.business_id}"))
    set_visitor(Reader(visit.person_name or visit.primary_email, visit.primary_email, visit.locale, visit.zone or found.profile.zone))
    return None


def check(view: Any) -> ResponseReturnValue | None:
    """Check the member's permission and, where required, a recent sign-in.

    Return a redirect to sign in again, or None. Raises Forbidden if the role does not allow the view.
    """
    verb = getattr(view, "_needs", None)
    if verb is None:
        raise ScopeError(f"{request.endpoint} declares no permission")
    if not current_member().may(verb):
        raise Forbidden(sentence=_("Your role does not allow this. An owner can change your role under Team."))
    visit = sessions.current_visit()
    if getattr(view, "_fresh", False) and (visit is None or not sessions.proved_within(visit)):
        flash(_("Please sign in again to continue. Nothing has been changed yet. You will return to this page."), "wait")
        return redirect(sessions.fresh_proof_url(_back()), 303)
    return None


def current_member() -> Member:
    """The staff member of this request."""
    found: Member = g.member
    return found


def _back() -> str:
    """Return where to continue after signing in again: this page, or for a form the page that contained it."""
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
