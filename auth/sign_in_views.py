"""The sign-in pages: request an email, open the link or enter the code, sign out."""

from __future__ import annotations

from datetime import datetime

from flask import Blueprint, current_app, make_response, redirect, render_template, request, session
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from auth import bot_check, challenges, cookies, session_lifecycle, sessions, sign_in_context, tokens
from auth.bot_check import BotCheck
from auth.challenges import ChallengeRequest
from auth.devices import device_words
from auth.models import Challenge
from auth.oidc_client import logout as provider_logout
from auth.rate_limits import INTERVAL
from billing.model.business_profile import BusinessProfile
from billing.model.email_address import clean_address
from core import clock, i18n
from core.errors import Invalid
from core.request_context import services
from core.security import allow_from, token_page

bp = Blueprint("auth", __name__)


@bp.get("/login")
def sign_in() -> ResponseReturnValue:
    sign_in_context.require_sign_in_context(None)
    visit = sessions.current_visit()
    if visit is not None and visit.is_person and "again" not in request.args:
        return redirect(sign_in_context.landing(request.args.get("next"), None), 303)
    return _sign_in_page(None, visit.primary_email if visit and visit.opens_all else "")


@bp.post("/login")
def request_email() -> ResponseReturnValue:
    sign_in_context.require_sign_in_context(None)
    return _start_sign_in(None)


@bp.get("/login/<business_id>")
def business_sign_in(business_id: str) -> ResponseReturnValue:
    """The permanent sign-in link of a business. A signed-in customer is redirected to their portal at once."""
    profile = sign_in_context.profile_or_404(business_id)
    sign_in_context.require_sign_in_context(profile)
    if profile.archived_at is not None:
        return render_template("auth/archived.html", business=profile), 403
    visit = sessions.current_visit()
    if visit is not None and "again" not in request.args and sessions.scope_for_business(visit, business_id) is not None:
        return redirect(sign_in_context.landing(request.args.get("next"), business_id), 303)
    return _sign_in_page(profile)


@bp.post("/login/<business_id>")
def request_business_email(business_id: str) -> ResponseReturnValue:
    profile = sign_in_context.profile_or_404(business_id)
    sign_in_context.require_sign_in_context(profile)
    if profile.archived_at is not None:
        return render_template("auth/archived.html", business=profile), 403
    return _start_sign_in(profile)


@bp.get("/login/sent")
def sent() -> ResponseReturnValue:
    return sent_page()


@bp.post("/logout")
def logout() -> ResponseReturnValue:
    """Sign out of this browser. In a business's portal opened by a portal link, sign out of that portal only."""
    business_id = request.form.get("business_id") or None
    visit = sessions.current_visit()
    answer = redirect(f"/login/{business_id}" if business_id else "/login", 303)
    if visit is None:
        return answer
    if business_id:
        sessions.scope_for_business(visit, business_id)
        there = provider_logout.logout_redirect(
            services().database, services().settings, current_app.extensions["oidc_discovery"], visit, business_id
        )
        if there is not None:
            sign_in_context.require_sign_in_context(sign_in_context.profile_or_404(business_id))
            answer = make_response(render_template("auth/providers/away_out.html", url=there))
    if session_lifecycle.sign_out(services().database, visit, business_id):
        cookies.drop(services().settings, answer, "signed-in")
        session.clear()
    return answer


def _sign_in_page(profile: BusinessProfile | None, email: str = "", error: str = "") -> ResponseReturnValue:
    next_ = request.values.get("next", "")
    check = _bot_check()
    if check is not None:
        allow_from(*check.origins)
    page = render_template(
        "auth/sign_in.html",
        business=profile,
        email=email,
        error=error,
        next=sign_in_context.landing(next_, None) if next_ else "",
        bot_check=check.widget() if check else None,
        again="again" in request.args,
    )
    return page, 422 if error else 200


def _bot_check() -> BotCheck | None:
    found: BotCheck | None = current_app.extensions["bot_check"]
    return found


def _start_sign_in(profile: BusinessProfile | None) -> ResponseReturnValue:
    typed = request.form.get("email", "")
    try:
        email, key = clean_address(typed)
    except Invalid as problem:
        return _sign_in_page(profile, typed[:320], _(problem.fields["email"]))
    return _request_email(email, key, profile.business_id if profile else None, request.form.get("next", ""), shown=email)


def _request_email(email: str, key: str, business_id: str | None, next_: str, *, shown: str, of: str = "") -> ResponseReturnValue:
    """Request the email and redirect. The response does not reveal whether the address is known."""
    settings = services().settings
    browser = cookies.browser(settings)
    wanted = ChallengeRequest(
        email=email,
        address_key=key,
        browser=browser,
        source=sign_in_context.source(),
        device=device_words(request.user_agent.string),
        locale=i18n.locale(),
        business_id=business_id,
        next=sign_in_context.landing(next_, business_id) if next_ else "",
        known=cookies.knows(settings, key),
    )
    last = session.get(sign_in_context.ASKED) or {}
    proven = bool(of or wanted.known or (last.get("proven") and last.get("email") == shown)) or bot_check.may_request(
        _bot_check(), services().database, settings, request.form, sign_in_context.source()
    )
    due = challenges.request_challenge(services().database, settings, wanted) if proven else None
    session[sign_in_context.ASKED] = {
        "email": shown,
        "business_id": business_id,
        "next": next_[:2000],
        "of": of,
        "proven": proven,
        "due": (due or clock.wall()).isoformat(),
    }
    answer = redirect("/login/sent", 303)
    cookies.keep_browser(settings, answer, browser)
    return answer


@bp.post("/login/sent")
def resend_email() -> ResponseReturnValue:
    """Resend the email to the same address."""
    sign_in_request = session.get(sign_in_context.ASKED) or {}
    if of := sign_in_request.get("of"):
        challenge = challenges.by_id(services().database, of)
        return resend(challenge) if challenge else redirect("/login", 303)
    if not sign_in_request.get("email"):
        return redirect("/login", 303)
    try:
        email, key = clean_address(sign_in_request["email"])
    except Invalid as problem:
        sign_in_context.enter_requested_context()
        return _sign_in_page(None, sign_in_request["email"], _(problem.fields["email"]))
    return _request_email(email, key, sign_in_request.get("business_id"), sign_in_request.get("next", ""), shown=email)


def resend(challenge: Challenge) -> ResponseReturnValue:
    """Resend an email that another browser requested. This browser sees only the masked address."""
    shown = tokens.mask(challenge.email)
    return _request_email(challenge.email, challenge.address_key, challenge.business_id, challenge.next, shown=shown, of=challenge.id)


def sent_page(wrong: bool = False, left: int = 0, no_cookie: bool = False) -> ResponseReturnValue:
    token_page()
    sign_in_request = sign_in_context.enter_requested_context()
    if not sign_in_request:
        return redirect("/login", 303)
    due = datetime.fromisoformat(sign_in_request["due"]) if "due" in sign_in_request else None
    page = render_template(
        "auth/sent.html",
        sign_in_request=sign_in_request,
        wrong=wrong,
        left=left,
        due_in=sign_in_context.seconds_until(due),
        no_cookie=no_cookie,
        resend_in=sign_in_context.seconds_until(due + INTERVAL if due else None),
    )
    return page, 422 if wrong or no_cookie else 200
