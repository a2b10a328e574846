"""What we know of a person is theirs: take a copy of all of it, or close the account. Both want a fresh proof."""

from __future__ import annotations

from flask import Response, redirect, render_template, request, send_file
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from auth import closing, cookies, exports, sessions
from auth.sessions import Visit
from core.errors import Forbidden, NotFound, Unauthorized
from core.web import db, house
from portal import proof
from unified import door

_EXPORT, _CLOSING = "/profile/export", "/profile/closing"


@door.get(_EXPORT)
def own_data() -> ResponseReturnValue:
    """Looks again by itself every few seconds while the copy is being written."""
    _visit()
    job = exports.newest(db())
    page = Response(render_template("unified/own_data.html", job=job, kept_until=job.created_at + exports.KEPT if job else None,
                                    is_fresh=proof.is_fresh(), prove_url=sessions.fresh_proof_url(_EXPORT)))
    if job is not None and job.finished_at is None:
        page.headers["Refresh"] = "3"
    return page


@door.post(_EXPORT)
def ask_own_data() -> ResponseReturnValue:
    visit = _visit()
    if not proof.is_fresh():
        return proof.prove(_EXPORT)
    exports.ask(db(), str(visit.identity_id))
    return redirect(_EXPORT, 303)


@door.get(_EXPORT + "/<export_id>.zip")
def own_data_file(export_id: str) -> ResponseReturnValue:
    _visit()
    job = exports.newest(db())
    if job is None or job.id != export_id:
        raise NotFound()
    if not proof.is_fresh():
        return proof.prove(_EXPORT)
    answer = send_file(exports.packed(db(), export_id), mimetype="application/zip", as_attachment=True, download_name="my-data.zip")
    answer.headers["Cache-Control"] = "private, no-store"
    return answer


@door.get(_CLOSING)
def closing_page() -> ResponseReturnValue:
    return _closing()


@door.post(_CLOSING)
def close_account() -> ResponseReturnValue:
    visit = _visit()
    if not proof.is_fresh():
        return proof.prove(_CLOSING)
    if request.form.get("confirmation", "").strip().casefold() != visit.primary_email.casefold():
        return _closing(_("Type your main address, exactly as it stands above.")), 422
    closing.close(house().database, visit)
    answer = redirect("/login", 303)
    for name in ("signed-in", "known"):
        cookies.drop(house().settings, answer, name)
    return answer


def _closing(error: str = "") -> str:
    visit = _visit()
    shops = sorted({row.business_name for row in visit.customers if row.accepted})
    return render_template("unified/closing.html", visit=visit, shops=shops, error=error, is_fresh=proof.is_fresh(),
                           prove_url=sessions.fresh_proof_url(_CLOSING))


def _visit() -> Visit:
    visit = sessions.current()
    if visit is None or not visit.is_person:
        raise Unauthorized()
    if len(visit.addresses) < len(visit.emails):
        raise Forbidden("PROOF_NEEDED", "Sign in with your main address first.")
    return visit
