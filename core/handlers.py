"""Register handlers of events, and run them for a piece of work."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import structlog

from core import spans
from core.mail_errors import Deferred
from core.outbox_claims import HandlingOutcome, Work

log = structlog.get_logger()

Handler = Callable[[Work], None]
Part = Literal["all", "work", "emails"]
"""The handlers to run: all, those that send no email ("work"), or those that send one ("emails")."""


@dataclass
class Handlers:
    """Handlers by event pattern: `on("subscription.*", emails.subscription, sends=True)`. `sends`: the handler sends email."""

    _all: list[tuple[str, str, Handler, bool]] = field(default_factory=list)

    def on(self, pattern: str, handler: Handler, name: str | None = None, *, sends: bool = False) -> None:
        self._all.append((pattern, name or f"{handler.__module__}.{handler.__qualname__}", handler, sends))

    def of(self, type: str, *, sends: bool | None = None) -> list[tuple[str, Handler]]:
        return [
            (name, spans.traced("work", type, handler))
            for pattern, name, handler, does in self._all
            if sends in (None, does) and fnmatch.fnmatchcase(type, pattern)
        ]

    def run(self, work: Work, done: list[str], part: Part) -> HandlingOutcome:
        """Run the handlers that are not in `done`; those that send email run last, so that a slow email delays nothing else."""
        outcome, emails = HandlingOutcome(), []
        for name, handler in self.of(work.type, sends=False) if part != "emails" else []:
            if name in done:
                continue
            try:
                handler(work)
                done.append(name)
            except Exception as problem:
                log.exception("handler failed", handler=name, event_id=work.id, event_type=work.type)
                outcome.error = _describe(name, problem)
        for name, handler in self.of(work.type, sends=True):
            if name in done:
                continue
            if part == "work":
                emails.append(name)
                continue
            try:
                handler(work)
                done.append(name)
            except Deferred as problem:
                log.warning("email deferred", handler=name, event_id=work.id, event_type=work.type, error=_describe(name, problem))
                emails.append(name)
                outcome.deferred = problem
            except Exception as problem:
                log.exception("handler failed", handler=name, event_id=work.id, event_type=work.type)
                emails.append(name)
                outcome.mail_error = _describe(name, problem)
        outcome.emails = tuple(emails)
        return outcome


def _describe(name: str, problem: Exception) -> str:
    return f"{name}: {type(problem).__name__}: {problem}"[:500]
