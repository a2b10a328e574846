"""`/clock`, test mode only: show and move the billing clock. It has the same access rule as the test mailbox.

A POST only stores the goal. The worker moves the clock there step by step, and the page shows the progress.
"""

from __future__ import annotations

from datetime import datetime

from flask import Blueprint, Response, make_response, redirect, render_template, request
from flask.typing import ResponseReturnValue

from billing.renewals.time_travel import count_events, next_renewal
from core import clock
from core.errors import Invalid, NotFound
from core.operator_access import is_operator
from core.request_context import Door, enter
from core.scope import everything
from core.services import Services
from core.shared_clock import SharedClock
from tenants.operator.clock.moments import checked, later, noon

REFRESH_SECONDS = 1  # seconds until the page refreshes


def make_blueprint(services: Services, shared: SharedClock) -> Blueprint:
    pages = Blueprint("clock", __name__)

    @pages.before_request
    def only_here() -> None:
        if not is_operator():
            raise NotFound()
        enter(Door(kind="auth", title=services.settings.name))

    @pages.get("/clock")
    def page() -> ResponseReturnValue:
        return shown()

    @pages.post("/clock")
    def turn() -> ResponseReturnValue:
        choice = request.form.get("turn", "")
        try:
            if choice == "reset":
                shared.reset()
            elif choice == "stop":
                shared.head_for(None)
            else:
                shared.follow()
                shared.head_for(checked(_goal(choice, services), clock.now(), clock.wall()))
        except Invalid as error:
            return shown(error.fields), 422
        return redirect("/clock?since=" + clock.now().strftime("%Y-%m-%dT%H:%M:%SZ") if choice not in ("reset", "stop") else "/clock")

    def shown(errors: dict[str, str] | None = None) -> Response:
        turned = shared.follow()
        since = _moment(request.args.get("since", ""))
        with services.database.open(everything("the clock's page")) as db:
            due = next_renewal(db, clock.now())
            meanwhile = count_events(db, since, clock.now()) if since and not turned.goal else None
        way = (turned.goal - turned.left_at) if turned.goal and turned.left_at else None
        answer = make_response(
            render_template(
                "clock/page.html",
                now=clock.now(),
                turned=turned,
                due=due,
                meanwhile=meanwhile,
                errors=errors or {},
                refresh_seconds=REFRESH_SECONDS,
                percent=int(100 * ((clock.now() - turned.left_at) / way)) if way and turned.left_at else 0,
            )
        )
        answer.headers["Cache-Control"] = "private, no-store"
        return answer

    return pages


def _goal(choice: str, services: Services) -> datetime:
    if choice in ("1d", "1w", "1m"):
        return later(clock.now(), choice)
    if choice == "next":
        with services.database.open(everything("the next renewal of all")) as db:
            if due := next_renewal(db, clock.now()):
                return due
    return noon(request.form.get("day", ""))


def _moment(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text) if text.endswith("Z") else None
    except ValueError:
        return None
