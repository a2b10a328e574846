"""Sign-in pages that check a proof: the link or the code of a sign-in email."""

from __future__ import annotations

from flask import redirect, render_template, request
from flask.typing import ResponseReturnValue

from auth import challenges, cookies, email_addresses, email_change, session_lifecycle, sessions, sign_in_context, tokens
from auth.devices import device_words
from auth.models import Challenge
from auth.oidc_client import account_linking
from auth.sign_in_views import bp, resend, sent_page
from billing.model.business_profile import public_profile
from core.request_context import services
from core.security import token_page


@bp.post("/login/code")
def code() -> ResponseReturnValue:
    """Check a code. It works only in the browser that requested it."""
    settings, browser = services().settings, cookies.read(services().settings, "browser")
    if browser is None:
        return sent_page(no_cookie=True)
    challenge = challenges.of_browser(services().database, settings, browser)
    if challenges.try_code(services().database, settings, challenge, request.form.get("code", ""), sign_in_context.source()) and challenge:
        return _complete(challenge)
    left = challenges.tries_left(challenges.of_browser(services().database, settings, browser))
    return sent_page(wrong=True, left=left)


@bp.get("/login/link/<token>")
def link(token: str) -> ResponseReturnValue:
    """Show who is about to sign in where. Opening the link does not use it up, because mail scanners open links."""
    return _link_page(token)


@bp.post("/login/link/<token>")
def redeem(token: str) -> ResponseReturnValue:
    token_page()
    settings, database = services().settings, services().database
    challenge = challenges.by_link(database, settings, token)
    if challenge is None or not challenges.is_live(challenge):
        return _link_page(token)
    here = challenges.requested_in_browser(settings, challenge, cookies.read(settings, "browser"))
    if challenge.purpose != "sign_in" and not here:
        return _link_page(token)
    if not here and not challenges.try_code(database, settings, challenge, request.form.get("code", ""), sign_in_context.source()):
        return _link_page(token, wrong=True)
    return _complete(challenge)


@bp.post("/login/link/<token>/resend")
def resend_link(token: str) -> ResponseReturnValue:
    """Send a new email to the address of the expired link."""
    challenge = challenges.by_link(services().database, services().settings, token)
    if challenge is None or challenge.purpose != "sign_in":
        return redirect("/login", 303)
    return resend(challenge)


def _link_page(token: str, wrong: bool = False) -> ResponseReturnValue:
    token_page()
    settings, database = services().settings, services().database
    challenge = challenges.by_link(database, settings, token)
    profile = public_profile(database, challenge.business_id) if challenge and challenge.business_id else None
    sign_in_context.require_sign_in_context(profile)
    visit = sessions.current_visit()
    if challenge is None or not challenges.is_live(challenge):
        masked = tokens.mask(challenge.email) if challenge and challenge.purpose == "sign_in" else ""
        is_in = visit is not None and visit.is_person
        newer = challenges.newer(database, challenge) if challenge and not is_in else None
        page = render_template(
            "auth/run_out.html",
            business=profile,
            masked=masked,
            token=token,
            is_in=is_in,
            newer=newer is not None,
            due_in=sign_in_context.seconds_until(newer.send_at if newer else None),
            home=sign_in_context.home(challenge.business_id if challenge else None),
        )
        return page, 410 if challenge else 404
    here = challenges.requested_in_browser(settings, challenge, cookies.read(settings, "browser"))
    other = visit.primary_email if visit and visit.is_person and challenge.address_key not in visit.addresses else ""
    page = render_template(
        "auth/link.html",
        business=profile,
        challenge=challenge,
        token=token,
        here=here,
        wrong=wrong,
        left=challenges.tries_left(challenge),
        other=other,
    )
    return page, 422 if wrong else 200


def _complete(challenge: Challenge) -> ResponseReturnValue:
    settings, database = services().settings, services().database
    visit = sessions.current_visit()
    if challenge.purpose == "add_address":
        there = f"/profile/addresses/merges/{merge_id}" if (merge_id := email_addresses.add(database, settings, challenge, visit)) else ""
        return sign_in_context.opens_more(redirect(there or sign_in_context.landing(challenge.next, None), 303), visit)
    if challenge.purpose == "change_email":
        email_change.confirm(database, challenge, visit)
        return sign_in_context.opens_more(redirect(sign_in_context.landing(challenge.next, None), 303), visit)
    is_known = cookies.knows(settings, challenge.address_key) is not None
    is_here = challenges.requested_in_browser(settings, challenge, cookies.read(settings, "browser"))
    joins = account_linking.on_proof(settings, challenge) if is_here else None  # the person came from a provider in this browser
    device = device_words(request.user_agent.string)
    secret = session_lifecycle.sign_in(database, settings, challenge, visit, device, is_known=is_known, joins=joins)
    if secret is None:  # another request used the same challenge first
        return _link_page(tokens.link_token(settings, "link", challenge.id, challenge.link_hash))
    return sign_in_context.welcome(
        redirect(sign_in_context.landing(challenge.next, challenge.business_id), 303), secret, [challenge.address_key]
    )
