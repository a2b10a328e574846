"""A merchant's link: GET shows whom one is about to become, POST opens that one customer of that one business."""

from __future__ import annotations

from flask import redirect, render_template, request
from flask.typing import ResponseReturnValue

from auth import cookies, doors, links, sessions, signing, tokens
from auth.devices import device_words
from auth.faces import face_of
from auth.views import bp
from core.security import token_page
from core.web import house


@bp.get("/session/<token>")
def portal_link(token: str) -> ResponseReturnValue:
    return _page(token)


@bp.post("/session/<token>")
def redeem_portal_link(token: str) -> ResponseReturnValue:
    """One click, anywhere: the merchant knew whom they gave it to."""
    token_page()
    found = links.by_token(house().database, house().settings, token)
    if found is None or not links.is_live(found[0]) or found[2].archived_at is not None:
        return _page(token)
    visit = sessions.current()
    device = device_words(request.user_agent.string)
    done, secret = signing.add_link_grant(house().database, house().settings, found[0], visit, device)
    if not done:
        return _page(token)
    answer = redirect(doors.landing(request.args.get("next"), found[0].business_id), 303)
    if secret is not None:  # a new one also where this browser had a session
        cookies.keep_signed_in(house().settings, answer, secret)
    return answer


@bp.post("/session/<token>/again")
def portal_link_again(token: str) -> ResponseReturnValue:
    """A fresh one, to the address on file. The page is the same whether or not a letter goes out."""
    token_page()
    found = links.by_token(house().database, house().settings, token)
    if found is None or found[0].revoked_at is not None:
        return _page(token)
    link, customer, business = found
    doors.stand_at(face_of(business))
    due = None
    if business.archived_at is None:
        due = links.ask_again(house().database, house().settings, link, customer.email_key, doors.source())
    return render_template("auth/portal_link_sent.html", business=face_of(business), masked=tokens.mask(customer.email),
                           due_in=doors.seconds_until(due))


def _page(token: str) -> ResponseReturnValue:
    token_page()
    found = links.by_token(house().database, house().settings, token)
    if found is None:
        doors.stand_at(None)
        return render_template("auth/portal_link_out.html", business=None, masked="", token=token), 404
    link, customer, business = found
    face, masked = face_of(business), tokens.mask(customer.email)
    doors.stand_at(face)
    if business.archived_at is not None:
        return render_template("auth/archived.html", business=face), 403
    visit = sessions.current()
    if not links.is_live(link):
        if visit is not None and any(one.link_id == link.id for one in visit.grants):
            return redirect(doors.home(link.business_id), 303)  # this very browser used it, and is still in
        offered = face if link.revoked_at is None else None  # taken back: nothing is told of the row to who has an old letter
        newer = offered is not None and links.newer_mailed(house().database, link)
        return render_template("auth/portal_link_out.html", business=offered, masked=masked if offered else "", token=token,
                               newer=newer), 410
    other = visit.primary_email if visit is not None and visit.is_person else ""
    return render_template("auth/portal_link.html", business=face, masked=masked, token=token, other=other, next=request.args.get("next"))
