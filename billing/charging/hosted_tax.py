"""Asks the hosted tax calculator of a business, outside of transactions, and stores what it calculated for a sale.

    return processor.taxes.with_answers(lambda known: …)     # the work calls `known.apply(…)` inside its transaction

The work is run, and run again with the answer each time it raises CalculationNeeded. That rolls its transaction back, so nothing is
written before the tax is known, and no call is made inside a transaction.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import TypeVar

from sqlalchemy import select

from billing.charging.payment_processors import PaymentProcessors
from billing.model.tax_calculations import TaxCalculation
from billing.pricing.calculated_tax import Calculated, CalculationNeeded, KnownAnswers
from billing.pricing.tax_port import TaxAnswer, TaxRequest
from core import clock
from core.db import ScopedSession
from core.errors import N_, Unavailable
from core.ids import new_id

Done = TypeVar("Done")

SLOTS, WAIT = 4, 2.0
"""Calls of this process that may run at the same time, and the seconds that one waits for a place."""
REST = 15.0
"""Seconds without calls for an account that did not answer."""
MOST_CALCULATIONS = 3
"""Per piece of work: its inputs can change between two runs."""
NO_ACCOUNT = N_("The payment account that calculates the tax is closed. Choose another one in Settings → Taxes.")
BUSY = N_("The tax cannot be calculated right now. Nothing was charged. Please try again in a few minutes.")


class TaxCalculations:
    """The calculators of all businesses. Threads share it."""

    def __init__(self, accounts: PaymentProcessors) -> None:
        self._accounts = accounts
        self._places = threading.BoundedSemaphore(SLOTS)
        self._lock = threading.Lock()
        self._silent: dict[str, float] = {}  # account → when it may be called again (monotonic)

    def with_answers(self, work: Callable[[KnownAnswers], Done]) -> Done:
        """Return the result of `work`. Raises what it raises, and Unavailable or Invalid (TAX_NOT_CALCULATED) if there is no answer."""
        known = KnownAnswers()
        for _ in range(MOST_CALCULATIONS):
            try:
                return work(known)
            except CalculationNeeded as needed:
                request = needed.request
            known.answers[request.digest] = self.ask(request)
        raise Unavailable("TAX_NOT_CALCULATED", BUSY)

    def ask(self, request: TaxRequest) -> TaxAnswer:
        """Ask the calculator, within limits: a few calls at once, and none for a while after an account did not answer."""
        account_id = request.payment_account_id
        service = self._accounts.taxes(request.business_id, account_id)
        if service is None:
            raise Unavailable("TAX_NOT_CALCULATED", NO_ACCOUNT)
        if self._silent.get(account_id, 0.0) > time.monotonic() or not self._places.acquire(timeout=WAIT):
            raise Unavailable("TAX_NOT_CALCULATED", BUSY)
        try:
            answer = service.calculate(request)
        except Unavailable:
            self._rest(account_id)
            raise
        finally:
            self._places.release()
        return answer

    def _rest(self, account_id: str) -> None:
        now = time.monotonic()
        with self._lock:
            self._silent = {item: until for item, until in self._silent.items() if until > now} | {account_id: now + REST}


def store_calculation(db: ScopedSession, customer_id: str, operation: str, calculated: Calculated) -> None:
    """Store what was calculated with the payment or invoice of `operation`. Nothing is stored where the portal's own table applies."""
    if calculated.request is None or calculated.answer is None:
        return
    request, items = calculated.request, {item.reference: item for item in calculated.request.items}
    lines = [
        {**asdict(taxed), "amount_minor": items[taxed.reference].amount_minor, "inclusive": items[taxed.reference].inclusive}
        for taxed in calculated.answer.items
    ]
    db.add(
        TaxCalculation(
            business_id=request.business_id, customer_id=customer_id, id=new_id("txc"), operation=operation,
            payment_account_id=request.payment_account_id, reference=calculated.answer.reference, currency=request.currency, lines=lines,
            created_at=clock.wall(),
        )
    )  # fmt: skip


def calculation_of(db: ScopedSession, business_id: str, operation: str) -> TaxCalculation | None:
    query = select(TaxCalculation).where(TaxCalculation.business_id == business_id, TaxCalculation.operation == operation)
    found: TaxCalculation | None = db.scalar(query)
    return found
