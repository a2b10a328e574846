"""The pages of signing in with a provider. Leaving is a POST (it leaves a row); coming back is the provider's GET, good for one
state, in one browser, once."""

from __future__ import annotations

from typing import Any

import structlog
from flask import current_app, redirect, render_template, request, session
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from auth import budgets, challenges, cookies, doors, sessions
from auth.challenges import Asking
from auth.devices import device_words
from auth.providers import ending, flow, joining, parties, testing
from auth.providers.discovery import Discovery
from auth.providers.flow import Came
from auth.providers.mistakes import Mistake
from auth.providers.parties import Party
from auth.views import bp
from billing.addresses import clean_address
from core import clock, i18n
from core.errors import NotFound, TooMany
from core.security import csrf_exempt, token_page
from core.web import house

log = structlog.get_logger()
_TAKEN = {"taken": "providers", "address_taken": "addresses"}  # who adds a login is signed in, and goes back to a page of theirs


@bp.post("/login/with/<provider>")
def to_provider(provider: str) -> ResponseReturnValue:
    return leave(_operators(provider), "sign_in", request.form.get("next", ""))


@bp.get("/login/with/<provider>/callback")
def from_provider(provider: str) -> ResponseReturnValue:
    return _back(_operators(provider))


@bp.post("/login/with/<provider>/logout")
@csrf_exempt
def provider_says_out(provider: str) -> ResponseReturnValue:
    return _logged_out(_operators(provider))


@bp.post("/login/<business_id>/with/sso")
def to_business_provider(business_id: str) -> ResponseReturnValue:
    return leave(_businesses(business_id), "sign_in", request.form.get("next", ""))


@bp.get("/login/<business_id>/with/sso/callback")
def from_business_provider(business_id: str) -> ResponseReturnValue:
    return _back(_businesses(business_id, also_disabled=True))


@bp.post("/login/<business_id>/with/sso/logout")
@csrf_exempt
def business_provider_says_out(business_id: str) -> ResponseReturnValue:
    return _logged_out(_businesses(business_id, also_disabled=True))


def other_ways(business: Any = None) -> list[tuple[str, str]]:
    """(where to post, the provider's name) for the sign-in page of a door."""
    if business is None:
        return [(one.path, one.label) for one in parties.of_operator(house().settings)]
    one = parties.of_business(house().database, house().settings, business.business_id)
    return [(one.path, one.label)] if one else []


def leave(party: Party, purpose: str, next_: str = "", identity_id: str | None = None) -> ResponseReturnValue:
    """A page that takes one to the provider: by itself, or by its link."""
    token_page()
    settings = house().settings
    doors.stand_at(doors.face_or_404(party.business_id) if party.business_id else None)
    if not budgets.spend(house().database, budgets.asks(settings, doors.source())):
        return _said(party, "unreachable")
    browser, visit = cookies.browser(settings), sessions.current()
    anew = party.business_id is None and visit is not None and visit.is_person  # a proof that may count as a fresh one
    if purpose == "test":
        discovery().forget_failure(party.issuer)  # an owner who put it right tries again at once
    try:
        there = flow.leave(house().database, settings, discovery(), party, browser=browser, purpose=purpose, identity_id=identity_id,
                           next=doors.landing(next_, party.business_id) if next_ else "", anew=anew)
    except Mistake as wrong:
        return _mistaken(party, wrong)
    answer = current_app.make_response(render_template("auth/providers/away.html", there=there, name=party.label))
    cookies.keep_browser(settings, answer, browser)
    return answer


def discovery() -> Discovery:
    found: Discovery = current_app.extensions["oidc_discovery"]
    return found


def _back(party: Party) -> ResponseReturnValue:
    token_page()
    settings, database = house().settings, house().database
    doors.stand_at(doors.face_or_404(party.business_id) if party.business_id else None)
    try:
        came = flow.come_back(database, settings, discovery(), party, request.args, cookies.read(settings, "browser") or "")
        if came.purpose == "test":
            return render_template("auth/providers/tested.html", **testing.result(database, settings, party, came),
                                   back=f"/console/{party.business_id}/developers/provider")
        return _at_business(party, came) if party.business_id else _at_unified(party, came)
    except Mistake as wrong:
        if wrong.code == "waiting":
            return render_template("auth/providers/waiting.html", name=party.label)
        return _mistaken(party, wrong)


def _at_unified(party: Party, came: Came) -> ResponseReturnValue:
    settings, before = house().settings, sessions.current()
    device = device_words(request.user_agent.string)
    joined = joining.at_unified_door(house().database, settings, party, came, before, device, lambda key: cookies.knows(settings, key))
    if joined.letter:
        return _by_letter(joined.letter, joined.joins, came.next)
    answer = redirect(doors.landing(came.next or ("/profile/providers" if came.purpose == "link" else ""), None), 303)
    return doors.welcome(answer, joined.secret, joined.keys) if joined.secret else doors.opens_more(answer, before)


def _at_business(party: Party, came: Came) -> ResponseReturnValue:
    fresh = parties.of_business(house().database, house().settings, str(party.business_id))
    if fresh is None or fresh.key != party.key:
        raise Mistake("wrong_state", "switched off")
    device = device_words(request.user_agent.string)
    secret = joining.at_business_door(house().database, house().settings, party, came, sessions.current(), device)
    answer = redirect(doors.landing(came.next, party.business_id), 303)
    cookies.keep_signed_in(house().settings, answer, secret)
    return answer


def _by_letter(email: str, joins: dict[str, Any] | None, next_: str) -> ResponseReturnValue:
    """The provider is not believed about this address: a letter proves it, and then joins the two. Same answer as ever."""
    settings = house().settings
    written, key = clean_address(email)
    browser = cookies.browser(settings)
    due = challenges.ask(house().database, settings, Asking(
        email=written, address_key=key, browser=browser, source=doors.source(), device=device_words(request.user_agent.string),
        locale=i18n.locale(), next=doors.landing(next_, None) if next_ else "", known=cookies.knows(settings, key), joins=joins))
    session[doors.ASKED] = {"email": written, "business_id": None, "next": next_[:2000], "of": "",
                            "due": (due or clock.wall()).isoformat()}
    answer = redirect("/login/sent", 303)
    cookies.keep_browser(settings, answer, browser)
    return answer


def _logged_out(party: Party) -> ResponseReturnValue:
    """Back-Channel Logout §2.8: 200 and no-store, or 400; 429 to who brings too many that are none; 503 while the provider's own
    keys cannot be had."""
    token_page()
    token = request.form.get("logout_token")
    try:
        ended = ending.back_channel(house().database, house().settings, discovery(), party, token, doors.source())
    except TooMany:
        return {"error": "too_many_requests"}, 429, {"Retry-After": "60"}
    except Mistake as wrong:
        log.warning("logout token refused", party=party.key, why=wrong.detail or wrong.code)
        if wrong.code in ("waiting", "unreachable", "unreadable"):
            return {"error": "temporarily_unavailable"}, 503, {"Retry-After": "10"}
        return {"error": "invalid_request"}, 400
    log.info("signed out by provider", party=party.key, ended=ended)
    return "", 200


def _mistaken(party: Party, wrong: Mistake) -> ResponseReturnValue:
    log.info("sign-in with a provider", party=party.key, outcome=wrong.code, why=wrong.detail)
    return _said(party, wrong.code)


def _said(party: Party, code: str) -> ResponseReturnValue:
    letter, taken = f"/login/{party.business_id}" if party.business_id else "/login", _TAKEN.get(code)
    visit = sessions.current() if taken else None
    page = render_template("auth/providers/mistake.html", sentence=words(code, party.label), letter=letter, name=party.label, taken=taken,
                           address=visit.email if visit else "")
    return page, 403 if taken or code in ("not_a_customer", "needs_signing_in") else 503 if code == "waiting" else 502 if code in (
        "unreachable", "unreadable") else 400


def words(code: str, name: str) -> str:
    return {
        "declined": _("%(name)s did not let you through. Nothing was changed here.", name=name),
        "waiting": _("%(name)s takes long to answer. Please try again in a few seconds.", name=name),
        "unreachable": _("%(name)s does not answer at the moment.", name=name),
        "unreadable": _("%(name)s answered with something we cannot read.", name=name),
        "wrong_issuer": _("The answer came from somebody other than %(name)s, so we did not use it.", name=name),
        "wrong_state": _("This sign-in began in another browser, was used already, or took longer than ten minutes."),
        "wrong_token": _("What %(name)s sent cannot be verified, so we did not use it.", name=name),
        "no_address": _("%(name)s did not tell us an e-mail address, so we cannot find your purchases by it.", name=name),
        "not_a_customer": _("%(name)s knows you, but there are no purchases under that name here.", name=name),
        "needs_signing_in": _("Your account has a passkey. Sign in with it or by letter, then add %(name)s in your profile.", name=name),
        "taken": _("That account at %(name)s signs in somebody else here already.", name=name),
        "address_taken": _("The address of that account at %(name)s belongs to another account here. If both are yours, add the address "
                           "to this one first.", name=name),
    }[code]


def _operators(provider: str) -> Party:
    found = parties.named(house().settings, provider)
    if found is None:
        raise NotFound()
    return found


def _businesses(business_id: str, also_disabled: bool = False) -> Party:
    found = parties.of_business(house().database, house().settings, business_id, also_disabled=also_disabled)
    if found is None:
        raise NotFound()
    return found
