"""`/operator`. GET requests change nothing. Every action and its source address are recorded in the transaction of the action."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from flask import Blueprint, Response, make_response, redirect, render_template, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from werkzeug.exceptions import NotFound as NoPage

from core import clock, email_log, email_log_queries
from core.db import ScopedSession
from core.errors import Conflict, Invalid, NotFound
from core.operations import audit, jobs
from core.operations import failed_work as failed_jobs
from core.operator_access import PREFIX, is_allowed
from core.request_context import Door, enter
from core.scope import everything
from core.security import csrf_exempt
from core.services import Services
from tenants.operator import access, labels
from tenants.operator.view_model import overview


def make_blueprint(services: Services) -> Blueprint:
    pages = Blueprint("operator", __name__, url_prefix=PREFIX)

    @pages.before_request
    def guard() -> ResponseReturnValue | None:
        if not is_allowed(services.settings, request.environ):  # also checked in core/operator_access.py, which hides the pages
            raise NoPage()
        enter(Door(kind="auth", title=_("Operator"), home_url=PREFIX))
        if request.method == "POST":
            access.check_form()
        if access.session_id() is None and request.endpoint != "operator.sign_in":
            return shown("sign_in", error="") if request.method == "GET" else redirect(PREFIX, 303)
        return None

    @pages.after_request
    def not_stored(answer: Response) -> Response:
        answer.headers["Cache-Control"] = "no-store"
        return answer

    @pages.get("")
    def home() -> ResponseReturnValue:
        return shown("overview", overview=overview(services))

    add_sign_in(pages, services)
    add_failed_work(pages, services)
    add_failing_rows(pages, services)
    add_records(pages, services)
    return pages


def add_sign_in(pages: Blueprint, services: Services) -> None:
    attempts = access.ProcessAttempts()

    @pages.post("/sign-in")
    @csrf_exempt
    def sign_in() -> ResponseReturnValue:
        passed = access.try_secret(services, request.form.get("secret", ""), attempts)
        if passed:
            answer = make_response(redirect(PREFIX, 303))
            access.keep(services.settings, answer)
            return answer
        if passed is None:
            return shown("sign_in", error=_("Too many attempts. Wait 15 minutes, then try again.")), 429
        return shown("sign_in", error=_("This is not the operator secret.")), 403

    @pages.post("/sign-out")
    @csrf_exempt
    def sign_out() -> ResponseReturnValue:
        answer = make_response(redirect(f"{PREFIX}?done=signed_out", 303))
        access.drop(services.settings, answer)
        return answer


def add_failed_work(pages: Blueprint, services: Services) -> None:
    @pages.get("/work")
    def failed_work() -> ResponseReturnValue:
        state = request.args.get("state", "")
        state = state if state in failed_jobs.STATES else "given_up"
        with services.database.open(everything("the operator's list of failed work")) as db:
            rows = failed_jobs.failed(db, services.handlers, state, request.args.get("before", ""), failed_jobs.SHOWN + 1)
            counts, types = failed_jobs.counts(db), failed_jobs.given_up_types(db) if state == "given_up" else []
        older = rows[failed_jobs.SHOWN - 1].id if len(rows) > failed_jobs.SHOWN else ""
        return shown("work", rows=rows[: failed_jobs.SHOWN], state=state, counts=counts, types=types, older=older)

    @pages.get("/work/<work_id>")
    def one_work(work_id: str) -> ResponseReturnValue:
        return shown_work(services, work_id)

    @pages.post("/retry")
    @csrf_exempt
    def retry_type() -> ResponseReturnValue:
        with services.database.open(everything("an operator tries work of a type again"), write=True) as db:
            failed_jobs.try_again_all(db, request.form.get("type", ""), access.source())
        return redirect(f"{PREFIX}/work?done=tried_again", 303)

    @pages.post("/work/<work_id>/retry")
    @csrf_exempt
    def retry_work(work_id: str) -> ResponseReturnValue:
        return acted(services, work_id, "tried_again", lambda db: failed_jobs.try_again(db, services.handlers, work_id, access.source()))

    @pages.post("/work/<work_id>/set-aside")
    @csrf_exempt
    def set_aside(work_id: str) -> ResponseReturnValue:
        reason = request.form.get("reason", "")
        return acted(
            services, work_id, "set_aside", lambda db: failed_jobs.set_aside(db, services.handlers, work_id, reason, access.source())
        )


def add_failing_rows(pages: Blueprint, services: Services) -> None:
    @pages.post("/jobs/retry")
    @csrf_exempt
    def retry_row() -> ResponseReturnValue:
        try:
            with services.database.open(everything("an operator tries a row of a job again"), write=True) as db:
                jobs.try_again(db, request.form.get("business_id", ""), request.form.get("id", ""), access.source())
        except NotFound:
            return redirect(f"{PREFIX}?done=gone#failing", 303)
        return redirect(f"{PREFIX}?done=job_tried_again#failing", 303)


def add_records(pages: Blueprint, services: Services) -> None:
    @pages.get("/emails")
    def emails() -> ResponseReturnValue:
        return shown("emails", found=None, error="")

    @pages.post("/emails")
    @csrf_exempt
    def look_up() -> ResponseReturnValue:
        """Look up emails by address. A POST, so that the address is in no URL, log or history; no page repeats it."""
        address = request.form.get("address", "").strip()
        if "@" not in address or len(address) > 320:
            return shown("emails", found=None, error=_("Enter an email address, such as name@example.com.")), 422
        with services.database.open(everything("an operator looks up the emails of an address"), write=True) as db:
            found = email_log_queries.of_address(db, services.settings, address)
            audit.record(db, "emails_looked_up", email_log.address_hash(services.settings, address)[:12], access.source())
        return shown("emails", found=found, error="", hash=email_log.address_hash(services.settings, address)[:12])

    @pages.get("/actions")
    def actions() -> ResponseReturnValue:
        with services.database.open(everything("what operators did")) as db:
            return shown("actions", rows=audit.actions(db))


def acted(services: Services, work_id: str, done: str, act: Callable[[ScopedSession], None]) -> ResponseReturnValue:
    try:
        with services.database.open(everything("an operator acts on failed work"), write=True) as db:
            act(db)
    except Invalid as wrong:
        return shown_work(services, work_id, {name: _(message) for name, message in wrong.fields.items()}), 422
    except Conflict as refused:
        return shown_work(services, work_id, {"": _(refused.sentence)}), 409
    except NotFound:
        return redirect(f"{PREFIX}/work?done=gone", 303)
    return redirect(f"{PREFIX}/work?done={done}", 303)


def shown_work(services: Services, work_id: str, errors: dict[str, str] | None = None) -> str:
    with services.database.open(everything("one piece of failed work")) as db:
        row = failed_jobs.get_work(db, services.handlers, work_id)
        return shown(
            "work_item",
            row=row,
            effects=labels.effects(row.todo),
            errors=errors or {},
            typed=request.form.get("reason", ""),
            history=audit.actions(db, work_id),
        )


def shown(template: str, **values: Any) -> str:
    done = labels.DONE.get(request.args.get("done", ""))
    gone = _("This is no longer waiting.") if request.args.get("done") == "gone" else ""
    return render_template(
        f"operator/{template}.html",
        token=access.form_token(),
        signed_in=access.session_id() is not None,
        prefix=PREFIX,
        done=done,
        gone=gone,
        duration=labels.duration,
        size=labels.size,
        queues=labels.QUEUES,
        outcomes=labels.OUTCOMES,
        action_labels=labels.ACTIONS,
        now=clock.wall(),
        ago=_ago,
        **values,
    )


def _ago(moment: datetime | None) -> str:
    """Format a time relative to now, past or future."""
    if moment is None:
        return ""
    span = clock.wall() - moment
    return _("%(time)s ago", time=labels.duration(span)) if span.total_seconds() >= 0 else _("in %(time)s", time=labels.duration(-span))
