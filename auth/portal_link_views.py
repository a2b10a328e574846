"""Portal link pages: GET shows the account to be opened, POST opens that customer of that business."""

from __future__ import annotations

from flask import redirect, render_template, request
from flask.typing import ResponseReturnValue

from auth import cookies, portal_links, session_lifecycle, sessions, sign_in_context, tokens
from auth.devices import device_words
from auth.sign_in_views import bp
from billing.model.business_profile import profile_of
from core.request_context import services
from core.security import token_page


@bp.get("/session/<token>")
def portal_link(token: str) -> ResponseReturnValue:
    return _page(token)


@bp.post("/session/<token>")
def redeem_portal_link(token: str) -> ResponseReturnValue:
    """Open the portal in any browser: the business vouches for the recipient."""
    token_page()
    found = portal_links.by_token(services().database, services().settings, token)
    if found is None or not portal_links.is_live(found[0]) or found[2].archived_at is not None:
        return _page(token)
    visit = sessions.current_visit()
    device = device_words(request.user_agent.string)
    done, secret = session_lifecycle.add_link_grant(services().database, services().settings, found[0], visit, device)
    if not done:
        return _page(token)
    answer = redirect(sign_in_context.landing(request.args.get("next"), found[0].business_id), 303)
    if secret is not None:  # also new if this browser already had a session
        cookies.keep_signed_in(services().settings, answer, secret)
    return answer


@bp.post("/session/<token>/resend")
def resend_portal_link(token: str) -> ResponseReturnValue:
    """Send a new link to the address on file. The page is the same whether or not an email is sent."""
    token_page()
    found = portal_links.by_token(services().database, services().settings, token)
    if found is None or found[0].revoked_at is not None:
        return _page(token)
    link, customer, business = found
    sign_in_context.require_sign_in_context(profile_of(business))
    due = None
    if business.archived_at is None:
        due = portal_links.resend(services().database, services().settings, link, customer.email_key, sign_in_context.source())
    return render_template(
        "auth/portal_link_sent.html",
        business=profile_of(business),
        masked=tokens.mask(customer.email),
        due_in=sign_in_context.seconds_until(due),
    )


def _page(token: str) -> ResponseReturnValue:
    token_page()
    found = portal_links.by_token(services().database, services().settings, token)
    if found is None:
        sign_in_context.require_sign_in_context(None)
        return render_template("auth/portal_link_out.html", business=None, masked="", token=token), 404
    link, customer, business = found
    profile, masked = profile_of(business), tokens.mask(customer.email)
    sign_in_context.require_sign_in_context(profile)
    if business.archived_at is not None:
        return render_template("auth/archived.html", business=profile), 403
    visit = sessions.current_visit()
    if not portal_links.is_live(link):
        if visit is not None and any(grant.link_id == link.id for grant in visit.grants):
            return redirect(sign_in_context.home(link.business_id), 303)  # this browser used it and is still signed in
        offered = profile if link.revoked_at is None else None  # holders of a revoked link learn nothing about the row
        newer = offered is not None and portal_links.newer_mailed(services().database, link)
        return render_template(
            "auth/portal_link_out.html", business=offered, masked=masked if offered else "", token=token, newer=newer
        ), 410
    other = visit.primary_email if visit is not None and visit.is_person else ""
    return render_template(
        "auth/portal_link.html", business=profile, masked=masked, token=token, other=other, next=request.args.get("next")
    )
