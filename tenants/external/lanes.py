"""Background requests to external accounts: delegated actions, the objects of webhooks, and events. Each account has its own lane."""

from __future__ import annotations

import time
from datetime import timedelta

import structlog
from sqlalchemy import func, literal, select, union_all

from billing.model.delegated_actions import DelegatedAction
from core import clock
from core.db import ScopedSession
from core.errors import PortalError
from core.lanes import Lanes, Turn
from core.metrics.snapshot import Due, count_due
from core.scope import everything, system
from core.services import Services
from tenants.external import events
from tenants.external.account import ExternalAccount, ExternalWebhook, note_failure
from tenants.external.incoming_webhooks import follow
from tenants.external.page_calls import in_a_lane
from tenants.external.system import CallFailed
from tenants.external.systems import SYSTEMS

log = structlog.get_logger()

BACKOFF = (2, 10, 60, 300, 1800, 7200)  # seconds until a webhook is retried; after the last it is dropped
HOLD = timedelta(minutes=3)  # how long a webhook is reserved for one worker
AT_ONCE = 100  # accounts per query


class Accounts:
    """Serves the accounts of all businesses. The key of a lane is a business and a system."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self.lanes = Lanes("external accounts", services.database, due=self.due, serve=self.serve)
        services.metrics.add_queue(self.lanes.name, self.backlog)

    def due(self) -> list[str]:
        at = clock.wall()
        waiting = [
            select(DelegatedAction.business_id, DelegatedAction.system.label("system"), DelegatedAction.check_at.label("at")).where(
                DelegatedAction.status.in_(("pending", "opened")), DelegatedAction.check_at <= at
            ),
            select(ExternalAccount.business_id, ExternalAccount.id.label("system"), ExternalAccount.events_due_at.label("at")).where(
                ExternalAccount.events_due_at <= at
            ),
        ]
        for name in SYSTEMS:
            hooks = select(ExternalWebhook.business_id, literal(name).label("system"), ExternalWebhook.due_at.label("at"))
            waiting.append(hooks.where(ExternalWebhook.due_at <= at, ExternalWebhook.id.startswith(f"{name}/")))
        every = union_all(*waiting).subquery()
        keys = select(every.c.business_id, every.c.system).group_by(every.c.business_id, every.c.system)
        with self.services.database.open(everything("accounts with due requests")) as db:
            return [f"{row.business_id} {row.system}" for row in db.execute(keys.order_by(func.min(every.c.at)).limit(AT_ONCE))]

    def backlog(self, db: ScopedSession) -> Due:
        """Return how many actions and webhooks are due, and since when."""
        at = clock.wall()
        actions, first = count_due(
            db, DelegatedAction.check_at, DelegatedAction.status.in_(("pending", "opened")), DelegatedAction.check_at <= at
        )
        webhooks, other = count_due(db, ExternalWebhook.due_at, ExternalWebhook.due_at <= at)
        lists, last = count_due(db, ExternalAccount.events_due_at, ExternalAccount.events_due_at <= at)
        return actions + webhooks + lists, min((item for item in (first, other, last) if item), default=None)

    def serve(self, key: str, turn: Turn) -> bool:
        business_id, system_name = key.split(" ")
        with in_a_lane():
            return (
                self._actions(business_id, system_name, turn)
                and self._webhooks(business_id, system_name, turn)
                and self._events(business_id, system_name, turn)
            )

    def _actions(self, business_id: str, system_name: str, turn: Turn) -> bool:
        with self.services.database.open(system(business_id)) as db:
            waiting = select(DelegatedAction.id).where(
                DelegatedAction.system == system_name,
                DelegatedAction.status.in_(("pending", "opened")),
                DelegatedAction.check_at <= clock.wall(),
            )
            due = list(db.scalars(waiting.order_by(DelegatedAction.check_at).limit(50)))
        for act_id in due:
            if turn.over:
                break
            began = time.monotonic()
            if self.services.forwarder.run(business_id, act_id) == "pending" and time.monotonic() - began > 1.0:
                return False  # slow and without an answer: serve other businesses first
        return True

    def _webhooks(self, business_id: str, system_name: str, turn: Turn) -> bool:
        while not turn.over and (webhook := self._claim(business_id, system_name)):
            hook_id, kind, noun = webhook
            try:
                follow(self.services, business_id, system_name, kind, noun)
            except PortalError as away:
                self._retry_later(business_id, system_name, hook_id, away.sentence)
                return False
            except Exception as error:  # a failing webhook must not stop the others
                log.exception("external webhook failed", business_id=business_id, kind=kind)
                self._retry_later(business_id, system_name, hook_id, type(error).__name__)
                continue
            with self.services.database.open(system(business_id), write=True) as db:
                row = db.scalar(select(ExternalWebhook).where(ExternalWebhook.id == hook_id))
                if row is not None:
                    row.due_at = None
        return True

    def _events(self, business_id: str, system_name: str, turn: Turn) -> bool:
        try:
            while not turn.over and events.read_page(self.services, business_id, system_name):
                pass
        except CallFailed as failed:
            note_failure(self.services.database, business_id, system_name, failed.reason)
            return False
        return True

    def _claim(self, business_id: str, system_name: str) -> tuple[str, str, str] | None:
        """Return the next webhook, and mark all others about the same object as done."""
        at, ours = clock.wall(), ExternalWebhook.id.startswith(f"{system_name}/")
        with self.services.database.open(system(business_id), write=True) as db:
            row = db.scalar(
                select(ExternalWebhook)
                .where(ExternalWebhook.due_at <= at, ours)
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
                    ours,
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

    def _retry_later(self, business_id: str, system_name: str, hook_id: str, reason: str) -> None:
        note_failure(self.services.database, business_id, system_name, reason)
        with self.services.database.open(system(business_id), write=True) as db:
            row = db.scalar(select(ExternalWebhook).where(ExternalWebhook.id == hook_id))
            if row is not None:
                is_last = row.attempts > len(BACKOFF)
                row.due_at = None if is_last else clock.wall() + timedelta(seconds=BACKOFF[row.attempts - 1])
