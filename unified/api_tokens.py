"""Tokens with which a person's own programs call the customer API, and handing one over to a front end after signing in."""

from __future__ import annotations

from urllib.parse import urlsplit

from flask import flash, redirect, render_template, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from auth import access_tokens, api_origins, sessions
from auth.sessions import Visit
from core.errors import NotFound
from core.links import external
from core.request_context import services
from core.security import allow_form_to, token_page
from portal.request_accounts import businesses
from portal.step_up import is_fresh, prove
from unified import door

_PATH = "/profile/api-tokens"


@door.get(_PATH)
def api_tokens() -> ResponseReturnValue:
    return _page()


@door.post(_PATH)
def create_api_token() -> ResponseReturnValue:
    """Create a token. The response is the only page that contains it. Needs a recent sign-in: a token opens everything for a day."""
    if not is_fresh():
        return prove(_PATH)
    label = " ".join(request.form.get("label", "").split())[:80]
    if not label:
        return _page(_("Enter a name, such as the program that uses the token.")), 422
    may_act = request.form.get("reach") == "act"
    _row, secret = access_tokens.make_for_session(services().database, services().settings, _visit(), None, label, may_act=may_act)
    token_page()
    example = f'curl -H "Authorization: Bearer {secret}" {external("/api")}/unified-customer-portal/subscriptions'
    return render_template("unified/api_token_created.html", secret=secret, example=example, url=_PATH)


@door.post(_PATH + "/<token_id>/revocation")
def revoke_api_token(token_id: str) -> ResponseReturnValue:
    if not access_tokens.revoke(services().database, _visit(), token_id):
        raise NotFound()
    flash(_("The token is revoked. Programs that use it are signed out."), "good")
    return redirect(_PATH, 303)


@door.get("/front-end")
def front_end() -> ResponseReturnValue:
    """Ask whether to continue to the front end from which the sign-in was requested."""
    try:
        origin, business_id = _goal()
    except NotFound:
        flash(_("This address is not registered for sign-in. You’re signed in here."), "wait")
        return redirect("/", 303)
    allow_form_to(origin)
    theirs = businesses().get(business_id) if business_id else None
    name = theirs.name if theirs else services().settings.name
    return render_template("unified/front_end.html", origin=origin, host=urlsplit(origin).netloc, business_id=business_id, name=name)


@door.post("/front-end")
def open_front_end() -> ResponseReturnValue:
    """Make a token and open the front end with it. The address is the one that the contract's front end expects."""
    origin, business_id = _goal()
    host = urlsplit(origin).netloc
    _row, secret = access_tokens.make_for_session(services().database, services().settings, _visit(), business_id, host)
    allow_form_to(origin)
    token_page()
    return redirect(f"{origin}/{'session' if business_id else 'unified-session'}/{secret}", 303)


def _goal() -> tuple[str, str | None]:
    """Return the origin, if it may have a token, and the business; None: everything. Raises NotFound."""
    origin, business_id = request.values.get("origin", ""), request.values.get("business_id") or None
    if business_id is not None and business_id not in businesses():
        raise NotFound()
    if not api_origins.may_receive(services().database, services().settings, origin, business_id):
        raise NotFound()
    return origin, business_id


def _visit() -> Visit:
    visit = sessions.current_visit()
    assert visit is not None  # the door has checked it
    return visit


def _page(error: str = "") -> str:
    names = {business_id: account.name for business_id, account in businesses().items()}
    rows = access_tokens.tokens_of(services().database, _visit())
    return render_template("unified/api_tokens.html", rows=rows, names=names, url=_PATH, error=error, typed=request.form)
