"""Export all data about a person, and close the account. Both need a recent sign-in."""

from __future__ import annotations

from flask import Response, redirect, render_template, request, send_file
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from auth import close_account as account_closing
from auth import cookies, personal_export, sessions
from auth.sessions import Visit
from core.errors import N_, Conflict, Forbidden, NotFound, Unauthorized
from core.request_context import db, services
from portal import step_up
from unified import door

_EXPORT, _CLOSING = "/profile/export", "/profile/closing"


@door.get(_EXPORT)
def own_data() -> ResponseReturnValue:
    """Show the state of the export. The page refreshes every three seconds while the export is being prepared."""
    _visit()
    job = personal_export.newest(db())
    page = Response(
        render_template(
            "unified/own_data.html",
            job=job,
            kept_until=job.created_at + personal_export.KEPT if job else None,
            is_fresh=step_up.is_fresh(),
            prove_url=sessions.fresh_proof_url(_EXPORT),
        )
    )
    if job is not None and job.finished_at is None:
        page.headers["Refresh"] = "3"
    return page


@door.post(_EXPORT)
def request_own_data() -> ResponseReturnValue:
    visit = _visit()
    if not step_up.is_fresh():
        return step_up.prove(_EXPORT)
    personal_export.request_export(db(), str(visit.identity_id))
    return redirect(_EXPORT, 303)


@door.get(_EXPORT + "/<export_id>.zip")
def own_data_file(export_id: str) -> ResponseReturnValue:
    _visit()
    job = personal_export.newest(db())
    if job is None or job.id != export_id:
        raise NotFound()
    if not step_up.is_fresh():
        return step_up.prove(_EXPORT)
    answer = send_file(
        personal_export.open_zip(db(), export_id), mimetype="application/zip", as_attachment=True, download_name="my-data.zip"
    )
    answer.headers["Cache-Control"] = "private, no-store"
    return answer


@door.get(_CLOSING)
def closing_page() -> ResponseReturnValue:
    return _closing()


@door.post(_CLOSING)
def close_account() -> ResponseReturnValue:
    visit = _visit()
    if not step_up.is_fresh():
        return step_up.prove(_CLOSING)
    if request.form.get("confirmation", "").strip().casefold() != visit.primary_email.casefold():
        return _closing(_("Type your main email address exactly as shown above.")), 422
    try:
        account_closing.close(services().database, visit, services().leave_teams)
    except Conflict:  # the page names the businesses
        return _closing(), 409
    answer = redirect("/login", 303)
    for name in ("signed-in", "known"):
        cookies.drop(services().settings, answer, name)
    return answer


def _closing(error: str = "") -> str:
    visit = _visit()
    businesses = sorted({row.name for row in visit.customers if row.accepted})
    return render_template(
        "unified/closing.html",
        visit=visit,
        businesses=businesses,
        error=error,
        is_fresh=step_up.is_fresh(),
        owned=services().only_owner_of(visit),
        prove_url=sessions.fresh_proof_url(_CLOSING),
    )


def _visit() -> Visit:
    visit = sessions.current_visit()
    if visit is None or not visit.is_person:
        raise Unauthorized()
    if len(visit.addresses) < len(visit.emails):
        raise Forbidden("PROOF_NEEDED", N_("Sign in with your main address first."))
    return visit
