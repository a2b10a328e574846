"""The reader's own details. At the unified door a change names the businesses it is sent to; at a business's door it is theirs only."""

from __future__ import annotations

from typing import Any

from flask import flash, redirect, render_template, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_babel import ngettext

from auth import sessions
from auth.identities import lives_in, speaks
from auth.sessions import Visit
from auth.signing import sessions_of
from billing.commands.profile import edit_profile
from core import i18n
from core.errors import Invalid
from core.languages import best_locale
from core.web import db, exists_here, here, house, the_door
from portal import bp
from portal.standing import accounts, is_several


@bp.get("/profile")
def profile() -> ResponseReturnValue:
    return _page({}, None)


@bp.post("/profile")
def edit() -> ResponseReturnValue:
    form = request.form
    wanted = form.getlist("to") if is_several() else [one.customer_id for one in accounts()]
    language, before = form.get("language") or None, next((one.locale for one in accounts()), None)
    if language is None and before and not best_locale([before], i18n.offered()):
        language = before  # a wish that this business does not offer now, and so not on the page, is not forgotten
    try:
        if language not in (None, before, *i18n.offered()):
            raise Invalid(fields={"language": "Choose one of the languages."})
        if form.get("zone") and form["zone"] not in i18n.zones():
            raise Invalid(fields={"zone": "Choose a time zone of the list, such as Europe/London."})
        changed = edit_profile(db(), wanted, name=form.get("name", ""), phone=form.get("phone"), locale=language)
    except Invalid as wrong:
        return _page({name: _(sentence) for name, sentence in wrong.fields.items()}, form), 422
    if (visit := _person()) is not None and "zone" in form:
        lives_in(db(), visit.identity_id or "", form["zone"] or None)
    if not changed:
        flash(_("Saved. Nothing was different."), "good")
    elif is_several():
        flash(ngettext("Saved, and sent to one business.", "Saved, and sent to %(num)d businesses.", len(changed)), "good")
    else:
        flash(_("Saved."), "good")
    answer = redirect(here("profile"), 303)
    if language != before:
        _speak(language)
        answer.delete_cookie(i18n.COOKIE)  # the choice in the footer was an earlier one
    return answer


def _speak(language: str | None) -> None:
    """At a business's door the language is that business's record only; at the unified door it is the person's as well."""
    if (visit := _person()) is not None:
        speaks(db(), visit.identity_id or "", language)


def _person() -> Visit | None:
    """The person who is signed in at the unified door; nobody at a business's."""
    visit = sessions.current()
    return visit if visit is not None and visit.identity_id and the_door().kind == "unified" else None


def _page(errors: dict[str, str], typed: Any) -> str:
    theirs = accounts()
    first = theirs[0] if theirs else None
    visit = sessions.current()
    values = {
        "name": typed.get("name", "") if typed else (first.customer_name if first else ""),
        "phone": typed.get("phone", "") if typed else (first.phone or "" if first else ""),
        "language": typed.get("language", "") if typed else (first.locale or "" if first else ""),
        "zone": typed.get("zone", "") if typed else (visit.zone or "" if visit else ""),
        "to": typed.getlist("to") if typed else [one.customer_id for one in theirs],
    }
    is_person = visit is not None and visit.is_person and not visit.link
    return render_template(
        "portal/profile.html", errors=errors, values=values, accounts=theirs, several=is_several(), visit=visit, is_person=is_person,
        zones=i18n.zones() if _person() is not None else [],
        languages_offered=[("", _("As the browser says")), *((name, i18n.own_name(name)) for name in i18n.offered())],
        signed_in=sessions_of(house().database, visit) if visit and is_person else [], may_add=exists_here("addresses"))
