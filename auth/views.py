"""The sign-in pages: ask, look into the mail, open the link or type the code, sign out."""

from __future__ import annotations

from datetime import datetime

from flask import Blueprint, current_app, make_response, redirect, render_template, request, session
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from auth import bots, challenges, cookies, doors, linking, own_email, sessions, signing, tokens
from auth.bots import BotCheck
from auth.budgets import INTERVAL
from auth.challenges import Asking
from auth.devices import device_words
from auth.faces import Face
from auth.models import Challenge
from auth.providers import ending, joining
from billing.addresses import clean_address
from core import clock, i18n
from core.errors import Invalid
from core.security import allow_from, token_page
from core.web import house

bp = Blueprint("auth", __name__)


@bp.get("/login")
def ask() -> ResponseReturnValue:
    doors.stand_at(None)
    visit = sessions.current()
    if visit is not None and visit.is_person and "again" not in request.args:
        return redirect(doors.landing(request.args.get("next"), None), 303)
    return _ask_page(None, visit.primary_email if visit and visit.opens_all else "")


@bp.post("/login")
def asked() -> ResponseReturnValue:
    doors.stand_at(None)
    return _ask(None)


@bp.get("/login/<business_id>")
def ask_business(business_id: str) -> ResponseReturnValue:
    """The static link: it never expires. Somebody who buys here and is signed in goes straight in."""
    face = doors.face_or_404(business_id)
    doors.stand_at(face)
    if face.archived_at is not None:
        return render_template("auth/archived.html", business=face), 403
    visit = sessions.current()
    if visit is not None and "again" not in request.args and sessions.scope_for_business(visit, business_id) is not None:
        return redirect(doors.landing(request.args.get("next"), business_id), 303)
    return _ask_page(face)


@bp.post("/login/<business_id>")
def asked_business(business_id: str) -> ResponseReturnValue:
    face = doors.face_or_404(business_id)
    doors.stand_at(face)
    if face.archived_at is not None:
        return render_template("auth/archived.html", business=face), 403
    return _ask(face)


@bp.get("/login/sent")
def sent() -> ResponseReturnValue:
    return _sent_page()


@bp.post("/login/code")
def code() -> ResponseReturnValue:
    """The code works in the browser that asked, and only there."""
    settings, browser = house().settings, cookies.read(house().settings, "browser")
    if browser is None:
        return _sent_page(no_cookie=True)
    challenge = challenges.of_browser(house().database, settings, browser)
    if challenges.try_code(house().database, settings, challenge, request.form.get("code", ""), doors.source()) and challenge:
        return _let_in(challenge)
    left = challenges.tries_left(challenges.of_browser(house().database, settings, browser))
    return _sent_page(wrong=True, left=left)


@bp.get("/login/link/<token>")
def link(token: str) -> ResponseReturnValue:
    """Shows who is about to sign in to what. Opening it uses nothing up: mail scanners open links."""
    return _link_page(token)


@bp.post("/login/link/<token>")
def redeem(token: str) -> ResponseReturnValue:
    token_page()
    settings, database = house().settings, house().database
    challenge = challenges.by_link(database, settings, token)
    if challenge is None or not challenges.is_live(challenge):
        return _link_page(token)
    here = challenges.asked_here(settings, challenge, cookies.read(settings, "browser"))
    if challenge.purpose != "sign_in" and not here:
        return _link_page(token)
    if not here and not challenges.try_code(database, settings, challenge, request.form.get("code", ""), doors.source()):
        return _link_page(token, wrong=True)
    return _let_in(challenge)


@bp.post("/login/link/<token>/again")
def link_again(token: str) -> ResponseReturnValue:
    """A new letter to the address the old one went to."""
    challenge = challenges.by_link(house().database, house().settings, token)
    if challenge is None or challenge.purpose != "sign_in":
        return redirect("/login", 303)
    return _repeat(challenge)


@bp.post("/logout")
def logout() -> ResponseReturnValue:
    """Out of this browser; at a business's door that goes by a merchant's link, only out of that."""
    business_id = request.form.get("business_id") or None
    visit = sessions.current()
    answer = redirect(f"/login/{business_id}" if business_id else "/login", 303)
    if visit is None:
        return answer
    if business_id:
        sessions.scope_for_business(visit, business_id)
        there = ending.away(house().database, house().settings, current_app.extensions["oidc_discovery"], visit, business_id)
        if there is not None:
            doors.stand_at(doors.face_or_404(business_id))
            answer = make_response(render_template("auth/providers/away_out.html", there=there))
    if signing.sign_out(house().database, visit, business_id):
        cookies.drop(house().settings, answer, "signed-in")
        session.clear()
    return answer


def _ask_page(face: Face | None, email: str = "", error: str = "") -> ResponseReturnValue:
    next_ = request.values.get("next", "")
    check = _bots()
    if check is not None:
        allow_from(*check.origins)
    page = render_template("auth/sign_in.html", business=face, email=email, error=error, next=doors.landing(next_, None) if next_ else "",
                           bot_check=check.widget() if check else None, again="again" in request.args)
    return page, 422 if error else 200


def _bots() -> BotCheck | None:
    found: BotCheck | None = current_app.extensions["bot_check"]
    return found


def _ask(face: Face | None) -> ResponseReturnValue:
    typed = request.form.get("email", "")
    try:
        email, key = clean_address(typed)
    except Invalid as problem:
        return _ask_page(face, typed[:320], _(problem.fields["email"]))
    return _write(email, key, face.business_id if face else None, request.form.get("next", ""), shown=email)


def _write(email: str, key: str, business_id: str | None, next_: str, *, shown: str, of: str = "") -> ResponseReturnValue:
    """Ask for the letter and answer; the answer does not depend on whether anybody knows the address."""
    settings = house().settings
    browser = cookies.browser(settings)
    asking = Asking(
        email=email, address_key=key, browser=browser, source=doors.source(), device=device_words(request.user_agent.string),
        locale=i18n.locale(), business_id=business_id, next=doors.landing(next_, business_id) if next_ else "",
        known=cookies.knows(settings, key),
    )
    last = session.get(doors.ASKED) or {}
    proven = bool(of or asking.known or (last.get("proven") and last.get("email") == shown)) or bots.may_ask(
        _bots(), house().database, settings, request.form, doors.source())
    due = challenges.ask(house().database, settings, asking) if proven else None
    session[doors.ASKED] = {
        "email": shown, "business_id": business_id, "next": next_[:2000], "of": of, "proven": proven,
        "due": (due or clock.wall()).isoformat(),
    }
    answer = redirect("/login/sent", 303)
    cookies.keep_browser(settings, answer, browser)
    return answer


@bp.post("/login/sent")
def sent_again() -> ResponseReturnValue:
    """Another letter to the same address."""
    asked = session.get(doors.ASKED) or {}
    if of := asked.get("of"):
        challenge = challenges.by_id(house().database, of)
        return _repeat(challenge) if challenge else redirect("/login", 303)
    if not asked.get("email"):
        return redirect("/login", 303)
    try:
        email, key = clean_address(asked["email"])
    except Invalid as problem:
        doors.stand_where_asked()
        return _ask_page(None, asked["email"], _(problem.fields["email"]))
    return _write(email, key, asked.get("business_id"), asked.get("next", ""), shown=email)


def _repeat(challenge: Challenge) -> ResponseReturnValue:
    """Ask again for somebody else's browser's letter: only the mask of the address is ever shown here."""
    shown = tokens.mask(challenge.email)
    return _write(challenge.email, challenge.address_key, challenge.business_id, challenge.next, shown=shown, of=challenge.id)


def _sent_page(wrong: bool = False, left: int = 0, no_cookie: bool = False) -> ResponseReturnValue:
    token_page()
    asked = doors.stand_where_asked()
    if not asked:
        return redirect("/login", 303)
    due = datetime.fromisoformat(asked["due"]) if "due" in asked else None
    page = render_template("auth/sent.html", asked=asked, wrong=wrong, left=left, due_in=doors.seconds_until(due), no_cookie=no_cookie,
                           again_in=doors.seconds_until(due + INTERVAL if due else None))
    return page, 422 if wrong or no_cookie else 200


def _link_page(token: str, wrong: bool = False) -> ResponseReturnValue:
    token_page()
    settings, database = house().settings, house().database
    challenge = challenges.by_link(database, settings, token)
    face = doors.public_face(database, challenge.business_id) if challenge and challenge.business_id else None
    doors.stand_at(face)
    visit = sessions.current()
    if challenge is None or not challenges.is_live(challenge):
        masked = tokens.mask(challenge.email) if challenge and challenge.purpose == "sign_in" else ""
        is_in = visit is not None and visit.is_person
        newer = challenges.newer(database, challenge) if challenge and not is_in else None
        page = render_template("auth/run_out.html", business=face, masked=masked, token=token, is_in=is_in, newer=newer is not None,
                               due_in=doors.seconds_until(newer.send_at if newer else None),
                               home=doors.home(challenge.business_id if challenge else None))
        return page, 410 if challenge else 404
    here = challenges.asked_here(settings, challenge, cookies.read(settings, "browser"))
    other = visit.primary_email if visit and visit.is_person and challenge.address_key not in visit.addresses else ""
    page = render_template("auth/link.html", business=face, challenge=challenge, token=token, here=here, wrong=wrong,
                           left=challenges.tries_left(challenge), other=other)
    return page, 422 if wrong else 200


def _let_in(challenge: Challenge) -> ResponseReturnValue:
    settings, database = house().settings, house().database
    visit = sessions.current()
    if challenge.purpose == "add_address":
        there = f"/profile/addresses/merges/{merge_id}" if (merge_id := linking.add(database, settings, challenge, visit)) else ""
        return doors.opens_more(redirect(there or doors.landing(challenge.next, None), 303), visit)
    if challenge.purpose == "change_email":
        own_email.confirm(database, challenge, visit)
        return doors.opens_more(redirect(doors.landing(challenge.next, None), 303), visit)
    is_known = cookies.knows(settings, challenge.address_key) is not None
    is_here = challenges.asked_here(settings, challenge, cookies.read(settings, "browser"))
    joins = joining.on_proof(settings, challenge) if is_here else None  # who came from a provider, in this very browser
    secret = signing.sign_in(database, settings, challenge, visit, device_words(request.user_agent.string), is_known, joins)
    if secret is None:  # somebody was faster with the same letter
        return _link_page(tokens.link_token(settings, "link", challenge.id, challenge.link_hash))
    return doors.welcome(redirect(doors.landing(challenge.next, challenge.business_id), 303), secret, [challenge.address_key])
