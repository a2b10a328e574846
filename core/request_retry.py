"""Run a request again after a transaction conflict, if it had no external effects; else answer 409."""

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

from core import error_pages, transaction_retry
from core.request_context import undo

log = structlog.get_logger()


class TransactionConflict(Exception):
    """Passes a conflict through the error handlers to `with_reruns`."""

    def __init__(self, error: DBAPIError) -> None:
        self.error = error
        super().__init__(str(error))


def init(app: Flask) -> None:
    dispatch = app.full_dispatch_request

    def with_reruns(*args: Any) -> Response:
        session_data = copy.deepcopy(dict(session))
        for attempt in range(transaction_retry.ATTEMPTS):
            before = transaction_retry.effects()
            try:
                return dispatch(*args)
            except (TransactionConflict, DBAPIError) as problem:
                error = problem.error if isinstance(problem, TransactionConflict) else problem
                if not transaction_retry.is_conflict(error):
                    raise
                log.warning("transaction conflict", path=request.path, attempt=attempt, effects=transaction_retry.effects() - before)
                _undo(session_data)
                has_effects = transaction_retry.effects() != before
                if has_effects or attempt == transaction_retry.ATTEMPTS - 1:
                    return app.finalize_request(_conflict_page(has_effects))
            transaction_retry.pause(attempt)
        raise AssertionError("unreachable")

    app.full_dispatch_request = with_reruns  # type: ignore[method-assign]
    app.register_error_handler(DBAPIError, _of_database)


def _of_database(error: DBAPIError) -> ResponseReturnValue:
    if transaction_retry.is_conflict(error):
        raise TransactionConflict(error)
    return error_pages.of_anything(error)


def when_undone(work: Callable[[], object]) -> None:
    """Call `work` if this request is run again or refused after a conflict, to undo what it wrote in a separate transaction."""
    g.setdefault("when_undone", []).append(work)


def _undo(session_data: dict[str, Any]) -> None:
    """Reset the request's state to its beginning."""
    undo()
    for work in g.pop("when_undone", ()):
        work()
    vars(g).clear()
    session.clear()
    session.update(copy.deepcopy(session_data))
    request_ctx._after_request_functions.clear()
    for upload in request.files.values():
        upload.stream.seek(0)


def _conflict_page(has_effects: bool) -> ResponseReturnValue:
    """Return 409. API clients may retry it if nothing was done; if a part may be done, a person has to check."""
    sentence = _("Something else changed this at the same moment, so your change was not completed. Check the page before you try again.")
    if error_pages.wants_json():
        headers = {"Retry-After": "1", "x-should-retry": "false" if has_effects else "true"}
        return {"code": "CONFLICT", "message": str(sentence)}, 409, headers
    return (*error_pages.page(409, str(sentence)), {"Retry-After": "1"})
