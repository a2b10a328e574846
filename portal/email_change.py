"""The address businesses know the reader by: asked for here, confirmed from the new address, told to the old one."""

from __future__ import annotations

from flask import flash, redirect, render_template, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from auth import cookies, doors, own_email, sessions
from auth.devices import device_words
from auth.sessions import Visit
from core import i18n
from core.errors import Forbidden, Invalid
from core.web import here, house
from portal import bp, proof
from portal.standing import accounts, is_several


@bp.get("/profile/email")
def email_change() -> ResponseReturnValue:
    return _page({}, "", None)


@bp.post("/profile/email")
def ask_email_change() -> ResponseReturnValue:
    """The answer is the same whoever the new address belongs to."""
    visit, settings, email = _person(), house().settings, request.form.get("email", "")
    if not proof.is_fresh():
        return proof.prove(here("email_change"))
    wanted = request.form.getlist("to") if is_several() else [one.customer_id for one in accounts()]
    pairs = [(one.business_id, one.customer_id) for one in accounts() if one.customer_id in wanted and not one.archived_at]
    browser = cookies.browser(settings)
    try:
        due = own_email.ask(house().database, settings, visit, email, pairs, browser=browser, source=request.remote_addr,
                            device=device_words(request.user_agent.string), locale=i18n.locale(), next=here("profile"))
    except Invalid as wrong:
        return _page({name: _(sentence) for name, sentence in wrong.fields.items()}, email[:320], wanted), 422
    if wait := doors.seconds_until(due):
        flash(_("We will email %(address)s in about %(seconds)d seconds. Open the link in this browser; until then nothing changes.",
                address=email.strip(), seconds=wait), "good")
    else:
        flash(_("We sent a letter to %(address)s. Open its link in this browser; until then nothing changes.", address=email.strip()),
              "good")
    answer = redirect(here("profile"), 303)
    cookies.keep_browser(settings, answer, browser)
    return answer


def _person() -> Visit:
    """Somebody who proved who they are; a business's own link never changes where its letters go."""
    visit = sessions.current()
    if visit is None or not visit.is_person or visit.link:
        raise Forbidden("PROOF_NEEDED", "Sign in by letter first.")
    if len(visit.addresses) < len(visit.emails):
        raise Forbidden("PROOF_NEEDED", "Sign in with your main address first.")
    return visit


def _page(errors: dict[str, str], email: str, wanted: list[str] | None) -> str:
    _person()
    open_ones = [one for one in accounts() if not one.archived_at]
    return render_template(
        "portal/email_change.html", errors=errors, email=email, accounts=open_ones, several=is_several(), is_fresh=proof.is_fresh(),
        wanted=[one.customer_id for one in open_ones] if wanted is None else wanted,
        prove_url=sessions.fresh_proof_url(here("email_change")))
