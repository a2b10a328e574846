"""The lane that sends the tests of payment accounts, so that a processor that does not answer delays only its own business."""

from __future__ import annotations

from billing.charging import account_tests
from billing.model.payment_accounts import PaymentAccountDetails
from core import clock
from core.db import ScopedSession
from core.lanes import Lanes, Turn
from core.metrics.snapshot import Due, count_due
from core.services import Services

AT_ONCE = 100  # businesses per query


class AccountTests:
    """Sends the tests that owners requested in the console."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self.lanes = Lanes("payment account tests", services.database, self.due, self.serve, slots=2)

    def backlog(self, db: ScopedSession) -> Due:
        return count_due(db, PaymentAccountDetails.test_due_at, PaymentAccountDetails.test_due_at <= clock.wall())

    def due(self) -> list[str]:
        return account_tests.due_businesses(self.services.processor, AT_ONCE)

    def serve(self, business_id: str, turn: Turn) -> bool:
        answered = True
        for account_id in account_tests.due_tests(self.services.processor, business_id):
            if not turn.over:
                answered = account_tests.run_test(self.services.processor, business_id, account_id) and answered
        return answered


def register(services: Services) -> None:
    tests = AccountTests(services)
    services.worker.lanes.append(tests.lanes)
    services.metrics.add_queue(tests.lanes.name, tests.backlog)
    services.handlers.on("payment_account.test_requested", lambda work: tests.lanes.wake(), "payment_account_tests.wake")
