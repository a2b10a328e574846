"""`/clock`, test mode only: the billing clock, and buttons that turn it. Whoever may read the mailbox may turn it.

A POST only says where to; the worker goes there, stop by stop, and the page shows how far it has come.
"""

from __future__ import annotations

from datetime import datetime

from flask import Blueprint, Response, make_response, redirect, render_template, request
from flask.typing import ResponseReturnValue

from billing.passing import happened, next_renewal
from core import clock
from core.errors import Invalid, NotFound
from core.scope import everything
from core.shared_clock import SharedClock
from core.web import Door, House, enter, is_operator
from tenants.clock.moments import checked, later, noon

AGAIN = 1  # seconds until the page looks again


def make_blueprint(house: House, shared: SharedClock) -> Blueprint:
    pages = Blueprint("clock", __name__)

    @pages.before_request
    def only_here() -> None:
        if not is_operator():
            raise NotFound()
        enter(Door(kind="auth", title=house.settings.name))

    @pages.get("/clock")
    def page() -> ResponseReturnValue:
        return shown()

    @pages.post("/clock")
    def turn() -> ResponseReturnValue:
        wish = request.form.get("turn", "")
        try:
            if wish == "reset":
                shared.reset()
            elif wish == "stop":
                shared.head_for(None)
            else:
                shared.follow()
                shared.head_for(checked(_goal(wish, house), clock.now(), clock.wall()))
        except Invalid as error:
            return shown(error.fields), 422
        return redirect("/clock?since=" + clock.now().strftime("%Y-%m-%dT%H:%M:%SZ") if wish not in ("reset", "stop") else "/clock")

    def shown(errors: dict[str, str] | None = None) -> Response:
        turned = shared.follow()
        since = _moment(request.args.get("since", ""))
        with house.database.open(everything("the clock's page")) as db:
            due = next_renewal(db, clock.now())
            meanwhile = happened(db, since, clock.now()) if since and not turned.goal else None
        way = (turned.goal - turned.left_at) if turned.goal and turned.left_at else None
        answer = make_response(render_template(
            "clock/page.html", now=clock.now(), turned=turned, due=due, meanwhile=meanwhile, errors=errors or {}, again=AGAIN,
            percent=int(100 * ((clock.now() - turned.left_at) / way)) if way and turned.left_at else 0))
        answer.headers["Cache-Control"] = "private, no-store"
        return answer

    return pages


def _goal(wish: str, house: House) -> datetime:
    if wish in ("1d", "1w", "1m"):
        return later(clock.now(), wish)
    if wish == "next":
        with house.database.open(everything("the next renewal of all")) as db:
            if due := next_renewal(db, clock.now()):
                return due
    return noon(request.form.get("day", ""))


def _moment(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text) if text.endswith("Z") else None
    except ValueError:
        return None
