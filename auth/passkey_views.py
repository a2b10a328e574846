"""Signing in with a passkey: the browser asks for options, its authenticator answers, a form brings the answer here."""

from __future__ import annotations

from urllib.parse import urlencode

from flask import Response, redirect, render_template, request, session
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from auth import budgets, cookies, doors, passkeys, sessions
from auth.devices import device_words
from auth.views import bp
from core.errors import NotFound, TooMany
from core.security import token_page
from core.web import house

CEREMONY = "passkey"  # in the signed cookie: which ceremony this browser is in


@bp.post("/login/passkey/options")
def passkey_options() -> ResponseReturnValue:
    """JSON for navigator.credentials.get(). Names nobody's passkeys."""
    token_page()
    settings, party = house().settings, passkeys.relying_party(house().settings)
    if party is None:
        raise NotFound()
    if not budgets.spend(house().database, budgets.asks(settings, doors.source())):
        raise TooMany()
    browser = cookies.browser(settings)
    session[CEREMONY], options = passkeys.ask_to_sign_in(house().database, settings, party, browser)
    answer = Response(options, mimetype="application/json")
    cookies.keep_browser(settings, answer, browser)
    return answer


@bp.post("/login/passkey")
def passkey() -> ResponseReturnValue:
    token_page()
    settings, party = house().settings, passkeys.relying_party(house().settings)
    if party is None:
        raise NotFound()
    business_id = request.form.get("business_id") or None
    face = doors.face_or_404(business_id) if business_id else None
    doors.stand_at(face)
    proved = passkeys.sign_in(
        house().database, settings, party, str(session.pop(CEREMONY, "")), cookies.read(settings, "browser") or "",
        request.form.get("credential", ""), sessions.current(), device_words(request.user_agent.string),
        lambda key: cookies.knows(settings, key))
    if proved is None:
        wrong = _("That passkey did not open an account here. Use the letter instead; it always works.")
        next_ = request.form.get("next", "")
        return render_template("auth/sign_in.html", business=face, email="", error="", next=next_, passkey_error=wrong), 422
    secret, keys = proved
    next_ = request.form.get("next", "")
    # at a business's door the static link decides: it lets in who buys there, and says so to who does not
    goal = f"/login/{business_id}?" + urlencode({"next": next_}) if business_id else doors.landing(next_, None)
    return doors.welcome(redirect(goal, 303), secret, keys)
