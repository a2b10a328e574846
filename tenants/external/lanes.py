"""Background requests to external accounts: delegated actions and the objects of webhooks. Each business has its own lane."""

from __future__ import annotations

import time
from datetime import timedelta

import structlog
from sqlalchemy import func, select, union_all

from billing.model.delegated_actions import DelegatedAction
from core import clock
from core.db import ScopedSession
from core.errors import PortalError
from core.lanes import Lanes, Turn
from core.metrics.snapshot import Due, count_due
from core.scope import everything, system
from core.services import Services
from tenants.external.account import ExternalWebhook, note_failure
from tenants.external.page_calls import in_a_lane
from tenants.external.reader import SOURCE

log = structlog.get_logger()

BACKOFF = (2, 10, 60, 300, 1800, 7200)  # seconds until a webhook is retried; after the last it is dropped
HOLD = timedelta(minutes=3)  # how long a webhook is reserved for one worker
AT_ONCE = 100  # businesses per query


class Accounts:
    """Serves the accounts of all businesses."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self.lanes = Lanes("external accounts", services.database, due=self.due, serve=self.serve)
        services.metrics.add_queue(self.lanes.name, self.backlog)

    def due(self) -> list[str]:
        at = clock.wall()
        actions = select(DelegatedAction.business_id, DelegatedAction.check_at.label("at")).where(
            DelegatedAction.status.in_(("pending", "opened")), DelegatedAction.check_at <= at
        )
        webhooks = select(ExternalWebhook.business_id, ExternalWebhook.due_at.label("at")).where(ExternalWebhook.due_at <= at)
        both = union_all(actions, webhooks).subquery()
        waiting = select(both.c.business_id).group_by(both.c.business_id).order_by(func.min(both.c.at)).limit(AT_ONCE)
        with self.services.database.open(everything("businesses with due requests to accounts")) as db:
            return list(db.scalars(waiting))

    def backlog(self, db: ScopedSession) -> Due:
        """Return how many actions and webhooks are due, and since when."""
        at = clock.wall()
        actions, first = count_due(
            db, DelegatedAction.check_at, DelegatedAction.status.in_(("pending", "opened")), DelegatedAction.check_at <= at
        )
        webhooks, other = count_due(db, ExternalWebhook.due_at, ExternalWebhook.due_at <= at)
        return actions + webhooks, min((item for item in (first, other) if item), default=None)

    def serve(self, business_id: str, turn: Turn) -> bool:
        with in_a_lane():
            answered = self._actions(business_id, turn)
            return (self._webhooks(business_id, turn) if answered else False) and answered

    def _actions(self, business_id: str, turn: Turn) -> bool:
        with self.services.database.open(system(business_id)) as db:
            waiting = select(DelegatedAction.id).where(
                DelegatedAction.status.in_(("pending", "opened")), DelegatedAction.check_at <= clock.wall()
            )
            due = list(db.scalars(waiting.order_by(DelegatedAction.check_at).limit(50)))
        for act_id in due:
            if turn.over:
                break
            began = time.monotonic()
            if self.services.forwarder.run(business_id, act_id) == "pending" and time.monotonic() - began > 1.0:
                return False  # slow and without an answer: serve other businesses first
        return True

    def _webhooks(self, business_id: str, turn: Turn) -> bool:
        from tenants.external.incoming_webhooks import follow

        while not turn.over and (webhook := self._claim(business_id)):
            hook_id, kind, noun = webhook
            try:
                follow(self.services, business_id, kind, noun, turn)
            except PortalError as away:
                self._retry_later(business_id, hook_id, away.sentence)
                return False
            except Exception as error:  # a failing webhook must not stop the others
                log.exception("external webhook failed", business_id=business_id, kind=kind)
                self._retry_later(business_id, hook_id, type(error).__name__)
                continue
            with self.services.database.open(system(business_id), write=True) as db:
                row = db.scalar(select(ExternalWebhook).where(ExternalWebhook.id == hook_id))
                if row is not None:
                    row.due_at = None
        return True

    def _claim(self, business_id: str) -> tuple[str, str, str] | None:
        """Return the next webhook, and mark all others about the same object as done."""
        at = clock.wall()
        with self.services.database.open(system(business_id), write=True) as db:
            row = db.scalar(
                select(ExternalWebhook)
                .where(ExternalWebhook.due_at <= at)
                .order_by(ExternalWebhook.due_at, ExternalWebhook.id)
                .limit(1)
                .with_for_update(skip_locked=True)
            )
            if row is None:
                return None
            same = (
                select(ExternalWebhook)
                .where(
                    ExternalWebhook.due_at <= at,
                    ExternalWebhook.kind == row.kind,
                    ExternalWebhook.noun == row.noun,
                    ExternalWebhook.id != row.id,
                )
                .with_for_update(skip_locked=True)
            )
            for other in db.scalars(same):
                other.due_at = None
            row.due_at, row.attempts = at + HOLD, row.attempts + 1
            return row.id, row.kind, row.noun

    def _retry_later(self, business_id: str, hook_id: str, reason: str) -> None:
        note_failure(self.services.database, business_id, SOURCE, reason)
        with self.services.database.open(system(business_id), write=True) as db:
            row = db.scalar(select(ExternalWebhook).where(ExternalWebhook.id == hook_id))
            if row is not None:
                is_last = row.attempts > len(BACKOFF)
                row.due_at = None if is_last else clock.wall() + timedelta(seconds=BACKOFF[row.attempts - 1])
