"""Pages for sign-in with a provider. Starting is a POST, because it stores a state. The callback is a GET, valid once per state."""

from __future__ import annotations

from typing import Any

import structlog
from flask import current_app, redirect, render_template, request, session
from flask.typing import ResponseReturnValue

from auth import challenges, cookies, rate_limits, sessions, sign_in_context
from auth.challenges import ChallengeRequest
from auth.devices import device_words
from auth.oidc_client import account_linking, business_sign_in, connection_test, flow, logout, provider_config
from auth.oidc_client.discovery import Discovery
from auth.oidc_client.error_messages import error_message
from auth.oidc_client.errors import ProviderError
from auth.oidc_client.flow import CallbackResult
from auth.oidc_client.provider_config import ProviderConfig
from auth.sign_in_views import bp
from billing.model.email_address import clean_address
from core import clock, i18n
from core.errors import NotFound, TooMany
from core.metrics.instruments import SIGN_IN_FAILURES
from core.request_context import services
from core.security import csrf_exempt, token_page

log = structlog.get_logger()
_TAKEN = {"taken": "providers", "address_taken": "addresses"}  # a person who links a login is signed in and returns to a profile page


@bp.post("/login/with/<provider>")
def to_provider(provider: str) -> ResponseReturnValue:
    return redirect_to_provider(_operator_provider(provider), "sign_in", request.form.get("next", ""))


@bp.get("/login/with/<provider>/callback")
def from_provider(provider: str) -> ResponseReturnValue:
    return _handle_callback(_operator_provider(provider))


@bp.post("/login/with/<provider>/logout")
@csrf_exempt
def provider_says_out(provider: str) -> ResponseReturnValue:
    return _logged_out(_operator_provider(provider))


@bp.post("/login/<business_id>/with/sso")
def to_business_provider(business_id: str) -> ResponseReturnValue:
    return redirect_to_provider(_business_provider(business_id), "sign_in", request.form.get("next", ""))


@bp.get("/login/<business_id>/with/sso/callback")
def from_business_provider(business_id: str) -> ResponseReturnValue:
    return _handle_callback(_business_provider(business_id, also_disabled=True))


@bp.post("/login/<business_id>/with/sso/logout")
@csrf_exempt
def business_provider_says_out(business_id: str) -> ResponseReturnValue:
    return _logged_out(_business_provider(business_id, also_disabled=True))


def other_ways(business: Any = None) -> list[tuple[str, str]]:
    """Return (form action, provider name) pairs for the sign-in page."""
    if business is None:
        return [(item.path, item.label) for item in provider_config.of_operator(services().settings)]
    item = provider_config.of_business(services().database, services().settings, business.business_id)
    return [(item.path, item.label)] if item else []


def redirect_to_provider(party: ProviderConfig, purpose: str, next_: str = "", identity_id: str | None = None) -> ResponseReturnValue:
    """Return the page that redirects to the provider, automatically or by its link."""
    token_page()
    settings = services().settings
    sign_in_context.require_sign_in_context(sign_in_context.profile_or_404(party.business_id) if party.business_id else None)
    if not rate_limits.spend(services().database, rate_limits.sign_in_requests(settings, sign_in_context.source())):
        return _error_page(party, "unreachable")
    browser, visit = cookies.browser(settings), sessions.current_visit()
    reauthenticate = party.business_id is None and visit is not None and visit.is_person  # the proof may count as a fresh one
    if purpose == "test":
        discovery().forget_failure(party.issuer)  # an owner who fixed the settings can try again at once
    try:
        url = flow.start_sign_in(
            services().database,
            settings,
            discovery(),
            party,
            browser=browser,
            purpose=purpose,
            identity_id=identity_id,
            next=sign_in_context.landing(next_, party.business_id) if next_ else "",
            reauthenticate=reauthenticate,
        )
    except ProviderError as error:
        return _failed(party, error)
    answer = current_app.make_response(render_template("auth/providers/away.html", url=url, name=party.label))
    cookies.keep_browser(settings, answer, browser)
    return answer


def discovery() -> Discovery:
    found: Discovery = current_app.extensions["oidc_discovery"]
    return found


def _handle_callback(party: ProviderConfig) -> ResponseReturnValue:
    token_page()
    settings, database = services().settings, services().database
    sign_in_context.require_sign_in_context(sign_in_context.profile_or_404(party.business_id) if party.business_id else None)
    try:
        callback = flow.handle_callback(database, settings, discovery(), party, request.args, cookies.read(settings, "browser") or "")
        if callback.purpose == "test":
            return render_template(
                "auth/providers/tested.html",
                **connection_test.result(database, settings, party, callback),
                back=f"/console/{party.business_id}/developers/provider",
            )
        return _at_business(party, callback) if party.business_id else _at_unified(party, callback)
    except ProviderError as error:
        if error.code == "waiting":
            return render_template("auth/providers/waiting.html", name=party.label)
        return _failed(party, error)


def _at_unified(party: ProviderConfig, callback: CallbackResult) -> ResponseReturnValue:
    settings, before = services().settings, sessions.current_visit()
    device = device_words(request.user_agent.string)
    result = account_linking.sign_in_unified(
        services().database, settings, party, callback, before, device, knows=lambda key: cookies.knows(settings, key)
    )
    if result.address_to_prove:
        return _prove_by_email(result.address_to_prove, result.joins, callback.next)
    answer = redirect(sign_in_context.landing(callback.next or ("/profile/providers" if callback.purpose == "link" else ""), None), 303)
    return sign_in_context.welcome(answer, result.secret, result.keys) if result.secret else sign_in_context.opens_more(answer, before)


def _at_business(party: ProviderConfig, callback: CallbackResult) -> ResponseReturnValue:
    fresh = provider_config.of_business(services().database, services().settings, str(party.business_id))
    if fresh is None or fresh.key != party.key:
        raise ProviderError("wrong_state", "switched off")
    device = device_words(request.user_agent.string)
    secret = business_sign_in.sign_in(services().database, services().settings, party, callback, sessions.current_visit(), device)
    answer = redirect(sign_in_context.landing(callback.next, party.business_id), 303)
    cookies.keep_signed_in(services().settings, answer, secret)
    return answer


def _prove_by_email(email: str, joins: dict[str, Any] | None, next_: str) -> ResponseReturnValue:
    """Send an email to prove an address that the provider is not trusted about, and link the login then. Same page as usual."""
    settings = services().settings
    clean_email, key = clean_address(email)
    browser = cookies.browser(settings)
    due = challenges.request_challenge(
        services().database,
        settings,
        ChallengeRequest(
            email=clean_email,
            address_key=key,
            browser=browser,
            source=sign_in_context.source(),
            device=device_words(request.user_agent.string),
            locale=i18n.locale(),
            next=sign_in_context.landing(next_, None) if next_ else "",
            known=cookies.knows(settings, key),
            joins=joins,
        ),
    )
    session[sign_in_context.ASKED] = {
        "email": clean_email,
        "business_id": None,
        "next": next_[:2000],
        "of": "",
        "due": (due or clock.wall()).isoformat(),
    }
    answer = redirect("/login/sent", 303)
    cookies.keep_browser(settings, answer, browser)
    return answer


def _logged_out(party: ProviderConfig) -> ResponseReturnValue:
    """Handle a logout token (Back-Channel Logout §2.8): 200 and no-store, or 400.

    429 after too many invalid tokens; 503 while the provider's keys are not available.
    """
    token_page()
    token = request.form.get("logout_token")
    try:
        ended = logout.back_channel(services().database, services().settings, discovery(), party, token, sign_in_context.source())
    except TooMany:
        return {"error": "too_many_requests"}, 429, {"Retry-After": "60"}
    except ProviderError as error:
        log.warning("logout token refused", party=party.key, why=error.detail or error.code)
        if error.code in ("waiting", "unreachable", "unreadable"):
            return {"error": "temporarily_unavailable"}, 503, {"Retry-After": "10"}
        return {"error": "invalid_request"}, 400
    log.info("provider logout accepted", party=party.key, ended=ended)
    return "", 200


def _failed(party: ProviderConfig, error: ProviderError) -> ResponseReturnValue:
    if error.code != "waiting":
        SIGN_IN_FAILURES.labels("provider").inc()
    log.info("provider sign-in failed", party=party.key, outcome=error.code, why=error.detail)
    return _error_page(party, error.code)


def _error_page(party: ProviderConfig, code: str) -> ResponseReturnValue:
    email_url, taken = f"/login/{party.business_id}" if party.business_id else "/login", _TAKEN.get(code)
    visit = sessions.current_visit() if taken else None
    page = render_template(
        "auth/providers/mistake.html",
        sentence=error_message(code, party.label),
        email_url=email_url,
        name=party.label,
        taken=taken,
        address=visit.email if visit else "",
    )
    return page, 403 if taken or code in ("not_a_customer", "needs_signing_in") else 503 if code == "waiting" else 502 if code in (
        "unreachable",
        "unreadable",
    ) else 400


def _operator_provider(provider: str) -> ProviderConfig:
    found = provider_config.named(services().settings, provider)
    if found is None:
        raise NotFound()
    return found


def _business_provider(business_id: str, also_disabled: bool = False) -> ProviderConfig:
    found = provider_config.of_business(services().database, services().settings, business_id, also_disabled=also_disabled)
    if found is None:
        raise NotFound()
    return found
