"""A request whose transaction met another one is run again, if nothing of it has left yet; else its page says that it may be repeated."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import structlog
from flask import Flask, Response, g, request, session
from flask.globals import request_ctx
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from sqlalchemy.exc import DBAPIError

from core import conflicts

log = structlog.get_logger()


class Met(Exception):
    """Carries a conflict past the error pages, to where the request can be run again."""

    def __init__(self, error: DBAPIError) -> None:
        self.error = error
        super().__init__(str(error))


def init(app: Flask) -> None:
    dispatch = app.full_dispatch_request

    def with_reruns(*args: Any) -> Response:
        kept = copy.deepcopy(dict(session))
        for attempt in range(conflicts.ATTEMPTS):
            before = conflicts.effects()
            try:
                return dispatch(*args)
            except (Met, DBAPIError) as problem:
                error = problem.error if isinstance(problem, Met) else problem
                if not conflicts.is_conflict(error):
                    raise
                log.warning("transactions met", path=request.path, attempt=attempt, effects=conflicts.effects() - before)
                _undo(kept)
                has_effects = conflicts.effects() != before
                if has_effects or attempt == conflicts.ATTEMPTS - 1:
                    return app.finalize_request(_said(has_effects))
            conflicts.pause(attempt)
        raise AssertionError("unreachable")

    app.full_dispatch_request = with_reruns  # type: ignore[method-assign]
    app.register_error_handler(DBAPIError, _of_database)


def _of_database(error: DBAPIError) -> ResponseReturnValue:
    from core.faults import of_anything

    if conflicts.is_conflict(error):
        raise Met(error)
    return of_anything(error)


def when_undone(work: Callable[[], object]) -> None:
    """`work` takes back what this request wrote in a transaction of its own, if the request is run again or refused for a conflict."""
    g.setdefault("when_undone", []).append(work)


def _undo(kept: dict[str, Any]) -> None:
    """As if the request had just come in."""
    from core.web import undo

    undo()
    for work in g.pop("when_undone", ()):
        work()
    vars(g).clear()
    session.clear()
    session.update(copy.deepcopy(kept))
    request_ctx._after_request_functions.clear()
    for upload in request.files.values():
        upload.stream.seek(0)


def _said(has_effects: bool) -> ResponseReturnValue:
    """409, which programs repeat by themselves where nothing of it was done. Where a part of it may be done, a person decides."""
    from core import faults

    sentence = _("Something else changed this at the same moment, so your change was not completed. Check the page before you try again.")
    if faults.wants_json():
        headers = {"Retry-After": "1", "x-should-retry": "false" if has_effects else "true"}
        return {"code": "CONFLICT", "message": str(sentence)}, 409, headers
    return (*faults.page(409, str(sentence)), {"Retry-After": "1"})
