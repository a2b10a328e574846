"""The customer's details. In the unified portal the customer chooses which businesses receive a change."""

from __future__ import annotations

from typing import Any

from flask import flash, redirect, render_template, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_babel import ngettext

from auth import sessions
from auth.identities import set_locale, set_zone
from auth.own_sessions import sessions_of
from auth.sessions import Visit
from billing.customers.profile import edit_profile
from core import i18n
from core.errors import Invalid
from core.languages import best_locale
from core.links import exists_here, here
from core.request_context import current_door, db, services
from portal import bp
from portal.phrases import type_choices
from portal.request_accounts import accounts, is_several


@bp.get("/profile")
def profile() -> ResponseReturnValue:
    return _page({}, None)


@bp.post("/profile")
def edit() -> ResponseReturnValue:
    form = request.form
    wanted = form.getlist("to") if is_several() else [account.customer_id for account in accounts()]
    language, before = form.get("language") or None, next((account.locale for account in accounts()), None)
    if language is None and before and not best_locale([before], i18n.offered()):
        language = before  # keep a preferred language that this business does not offer now
    try:
        if language not in (None, before, *i18n.offered()):
            raise Invalid(fields={"language": _("Choose a language from the list.")})
        if form.get("zone") and form["zone"] not in i18n.zones():
            raise Invalid(fields={"zone": _("Choose a time zone from the list, such as Europe/London.")})
        changed = edit_profile(db(), wanted, name=form.get("name", ""), phone=form.get("phone"), locale=language,
                               customer_type=form.get("customer_type"))  # fmt: skip
    except Invalid as wrong:
        return _page({name: _(sentence) for name, sentence in wrong.fields.items()}, form), 422
    if (visit := _person()) is not None and "zone" in form:
        set_zone(db(), visit.identity_id or "", form["zone"] or None)
    if not changed:
        flash(_("Saved. Nothing changed."), "good")
    elif is_several():
        flash(ngettext("Saved, and sent to one business.", "Saved, and sent to %(num)d businesses.", len(changed)), "good")
    else:
        flash(_("Saved."), "good")
    answer = redirect(here("profile"), 303)
    if language != before:
        _save_language(language)
        answer.delete_cookie(i18n.COOKIE)  # the language chosen in the footer is older
    return answer


def _save_language(language: str | None) -> None:
    """Save the language for the person in the unified portal. In a business portal only the customer record has it."""
    if (visit := _person()) is not None:
        set_locale(db(), visit.identity_id or "", language)


def _person() -> Visit | None:
    """Return the visit of the person signed in to the unified portal; None in a business portal."""
    visit = sessions.current_visit()
    return visit if visit is not None and visit.identity_id and current_door().kind == "unified" else None


def _own_type() -> str:
    """Return what the customer said to all of these businesses, or an empty string."""
    said = {account.own_type for account in accounts()}
    return next(iter(said)) or "" if len(said) == 1 else ""


def _page(errors: dict[str, str], typed: Any) -> str:
    theirs = accounts()
    first = theirs[0] if theirs else None
    visit = sessions.current_visit()
    values = {
        "name": typed.get("name", "") if typed else (first.customer_name if first else ""),
        "phone": typed.get("phone", "") if typed else (first.phone or "" if first else ""),
        "language": typed.get("language", "") if typed else (first.locale or "" if first else ""),
        "zone": typed.get("zone", "") if typed else (visit.zone or "" if visit else ""),
        "customer_type": typed.get("customer_type", "") if typed else _own_type(),
        "to": typed.getlist("to") if typed else [their.customer_id for their in theirs],
    }
    is_person = visit is not None and visit.is_person and not visit.link
    return render_template(
        "portal/profile.html",
        errors=errors,
        values=values,
        accounts=theirs,
        several=is_several(),
        visit=visit,
        is_person=is_person,
        zones=i18n.zones() if _person() is not None else [],
        languages_offered=[("", _("Browser default")), *((name, i18n.own_name(name)) for name in i18n.offered())],
        customer_types=type_choices(),
        signed_in=sessions_of(services().database, visit) if visit and is_person else [],
        may_add=exists_here("addresses"),
    )
