"""What is asked of accounts in the background: acts that customers wait for, and hints that have to be followed. A lane per business."""

from __future__ import annotations

import time
from datetime import timedelta

import structlog
from sqlalchemy import func, select, union_all

from billing.forwarded import ForwardedAct
from core import clock
from core.errors import PortalError
from core.lanes import Lanes, Turn
from core.scope import everything, system
from core.web import House
from tenants.elsewhere.account import ElsewhereHook, note_failure
from tenants.elsewhere.asking import in_a_lane
from tenants.elsewhere.reader import SOURCE

log = structlog.get_logger()

BACKOFF = (2, 10, 60, 300, 1800, 7200)  # seconds until a hint is followed again; after the last it is given up
HOLD = timedelta(minutes=3)  # a hint that is being followed is nobody else's for so long
AT_ONCE = 100  # businesses of one look


class Accounts:
    """`answered` of a turn: whether the account said anything at all."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.lanes = Lanes("accounts elsewhere", house.database, due=self.due, serve=self.serve)

    def due(self) -> list[str]:
        at = clock.wall()
        acts = select(ForwardedAct.business_id, ForwardedAct.check_at.label("at")).where(
            ForwardedAct.status.in_(("pending", "opened")), ForwardedAct.check_at <= at)
        hints = select(ElsewhereHook.business_id, ElsewhereHook.due_at.label("at")).where(ElsewhereHook.due_at <= at)
        both = union_all(acts, hints).subquery()
        waiting = select(both.c.business_id).group_by(both.c.business_id).order_by(func.min(both.c.at)).limit(AT_ONCE)
        with self.house.database.open(everything("businesses whose accounts are to be asked")) as db:
            return list(db.scalars(waiting))

    def serve(self, business_id: str, turn: Turn) -> bool:
        with in_a_lane():
            answered = self._acts(business_id, turn)
            return (self._hints(business_id, turn) if answered else False) and answered

    def _acts(self, business_id: str, turn: Turn) -> bool:
        with self.house.database.open(system(business_id)) as db:
            waiting = select(ForwardedAct.id).where(ForwardedAct.status.in_(("pending", "opened")), ForwardedAct.check_at <= clock.wall())
            due = list(db.scalars(waiting.order_by(ForwardedAct.check_at).limit(50)))
        for act_id in due:
            if turn.over:
                break
            began = time.monotonic()
            if self.house.forwarder.run(business_id, act_id) == "pending" and time.monotonic() - began > 1.0:
                return False  # it was slow, and said nothing: others first
        return True

    def _hints(self, business_id: str, turn: Turn) -> bool:
        from tenants.elsewhere.hooks import follow

        while not turn.over and (hint := self._claim(business_id)):
            hook_id, kind, noun = hint
            try:
                follow(self.house, business_id, kind, noun, turn)
            except PortalError as away:
                self._later(business_id, hook_id, away.sentence)
                return False
            except Exception as odd:  # one hint that cannot be followed is no reason to leave the others
                log.exception("a hint was not followed", business_id=business_id, kind=kind)
                self._later(business_id, hook_id, type(odd).__name__)
                continue
            with self.house.database.open(system(business_id), write=True) as db:
                row = db.scalar(select(ElsewhereHook).where(ElsewhereHook.id == hook_id))
                if row is not None:
                    row.due_at = None
        return True

    def _claim(self, business_id: str) -> tuple[str, str, str] | None:
        """The next hint, and with it all that say the same: they are followed once."""
        at = clock.wall()
        with self.house.database.open(system(business_id), write=True) as db:
            row = db.scalar(select(ElsewhereHook).where(ElsewhereHook.due_at <= at).order_by(ElsewhereHook.due_at, ElsewhereHook.id)
                            .limit(1).with_for_update(skip_locked=True))
            if row is None:
                return None
            same = select(ElsewhereHook).where(ElsewhereHook.due_at <= at, ElsewhereHook.kind == row.kind, ElsewhereHook.noun == row.noun,
                                               ElsewhereHook.id != row.id).with_for_update(skip_locked=True)
            for other in db.scalars(same):
                other.due_at = None
            row.due_at, row.attempts = at + HOLD, row.attempts + 1
            return row.id, row.kind, row.noun

    def _later(self, business_id: str, hook_id: str, why: str) -> None:
        note_failure(self.house.database, business_id, SOURCE, why)
        with self.house.database.open(system(business_id), write=True) as db:
            row = db.scalar(select(ElsewhereHook).where(ElsewhereHook.id == hook_id))
            if row is not None:
                given_up = row.attempts > len(BACKOFF)
                row.due_at = None if given_up else clock.wall() + timedelta(seconds=BACKOFF[row.attempts - 1])
