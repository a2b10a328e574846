"""Sign-in with a passkey: the browser fetches options, the authenticator responds, and a form posts the response."""

from __future__ import annotations

from urllib.parse import urlencode

from flask import Response, redirect, render_template, request, session
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from auth import cookies, passkey_ceremonies, passkeys, rate_limits, sessions, sign_in_context
from auth.devices import device_words
from auth.sign_in_views import bp
from core.errors import NotFound, TooMany
from core.metrics.instruments import SIGN_IN_FAILURES
from core.request_context import services
from core.security import token_page

CEREMONY = "passkey"  # key in the signed cookie: the current ceremony of this browser


@bp.post("/login/passkey/options")
def passkey_options() -> ResponseReturnValue:
    """Return JSON for navigator.credentials.get(). Lists nobody's passkeys."""
    token_page()
    settings, party = services().settings, passkey_ceremonies.relying_party(services().settings)
    if party is None:
        raise NotFound()
    if not rate_limits.spend(services().database, rate_limits.sign_in_requests(settings, sign_in_context.source())):
        raise TooMany()
    browser = cookies.browser(settings)
    session[CEREMONY], options = passkeys.authentication_options(services().database, settings, party, browser)
    answer = Response(options, mimetype="application/json")
    cookies.keep_browser(settings, answer, browser)
    return answer


@bp.post("/login/passkey")
def passkey() -> ResponseReturnValue:
    token_page()
    settings, party = services().settings, passkey_ceremonies.relying_party(services().settings)
    if party is None:
        raise NotFound()
    business_id = request.form.get("business_id") or None
    profile = sign_in_context.profile_or_404(business_id) if business_id else None
    sign_in_context.require_sign_in_context(profile)
    proved = passkeys.sign_in(
        services().database,
        settings,
        party,
        ceremony_id=str(session.pop(CEREMONY, "")),
        browser=cookies.read(settings, "browser") or "",
        credential=request.form.get("credential", ""),
        before=sessions.current_visit(),
        device=device_words(request.user_agent.string),
        knows=lambda key: cookies.knows(settings, key),
    )
    if proved is None:
        SIGN_IN_FAILURES.labels("passkey").inc()
        wrong = _("That passkey does not belong to an account here. Sign in by email instead.")
        next_ = request.form.get("next", "")
        return render_template("auth/sign_in.html", business=profile, email="", error="", next=next_, passkey_error=wrong), 422
    secret, keys = proved
    next_ = request.form.get("next", "")
    # for a business, its permanent sign-in link decides whether this person is a customer there
    goal = f"/login/{business_id}?" + urlencode({"next": next_}) if business_id else sign_in_context.landing(next_, None)
    return sign_in_context.welcome(redirect(goal, 303), secret, keys)
