"""The lane that checks and applies uploaded files of payment methods, so that a slow processor delays only its own business."""

from __future__ import annotations

from billing.charging import method_move_files
from billing.model.method_move_files import MethodMoveFile
from core import clock
from core.db import ScopedSession
from core.lanes import Lanes, Turn
from core.metrics.snapshot import Due, count_due
from core.services import Services

AT_ONCE = 100  # businesses per query


class MethodMoves:
    """Checks and applies the files that owners uploaded in the console."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self.lanes = Lanes("payment method moves", services.database, self.due, self.serve, slots=2)

    def backlog(self, db: ScopedSession) -> Due:
        return count_due(db, MethodMoveFile.due_at, MethodMoveFile.due_at <= clock.wall())

    def due(self) -> list[str]:
        return method_move_files.due_businesses(self.services.processor, AT_ONCE)

    def serve(self, business_id: str, turn: Turn) -> bool:
        answered = True
        for account_id in method_move_files.due_files(self.services.processor, business_id):
            answered = method_move_files.work(self.services.processor, business_id, account_id, lambda: turn.over) and answered
        return answered


def register(services: Services) -> None:
    moves = MethodMoves(services)
    services.worker.lanes.append(moves.lanes)
    services.metrics.add_queue(moves.lanes.name, moves.backlog)
    for type in ("payment_account.move_requested", "payment_account.move_confirmed"):
        services.handlers.on(type, lambda work: moves.lanes.wake(), "payment_method_moves.wake")
