"""Compare both ledgers after a kill: what the provider moved, what is recorded here, and what is still open."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from billing.model.disputes import Dispute
from billing.model.payments import Payment, Refund
from tests.harness.money_operations import Act
from tests.stories.business_and_buyer import Site

ROUNDS = 60


@dataclass
class Figures:
    kills: int = 0
    lived: int = 0
    doubled: int = 0
    lost: int = 0
    stuck: int = 0
    kinds: Counter[str] = field(default_factory=Counter)

    @property
    def is_clean(self) -> bool:
        return not (self.doubled or self.lost or self.stuck)


def settle(site: Site, act: Act) -> bool:
    """Run the worker until nothing is open, click again, and run the worker again. Returns False if something stays open."""
    if not _work(site, lambda: True):
        return False
    act.again()
    return _work(site, act.done)


def _work(site: Site, done: Callable[[], bool]) -> bool:
    for _ in range(ROUNDS):
        site.overdue()
        site.services.worker.drain()
        if not site.rows(Payment, is_open=True) and not site.rows(Refund, status="pending") and done():
            return True
        time.sleep(0.02)  # the server may need a moment to notice that its client died
    return False


def compare(site: Site, act: Act, figures: Figures, settled: bool) -> None:
    """Compare one operation with its movements: more than one is doubled; a movement or a row without its counterpart is lost."""
    mine = [(kind, key, money) for kind, key, money in site.gateway.movements() if f"/{act.kind}:{act.owner}" in key]
    moved = Counter((key, money.minor) for kind, key, money in mine if kind != "dispute")
    rows = [*site.rows(Payment, status="succeeded"), *site.rows(Refund, status="succeeded")]
    ours = Counter((row.key, row.amount_minor) for row in rows if row.amount_minor and f"/{act.kind}:{act.owner}" in row.key)
    keys = {row.id: row.key for row in site.rows(Payment)}
    taken = Counter((key, money.minor) for kind, key, money in mine if kind == "dispute")
    lost = Counter((keys[row.payment_id], row.taken_minor) for row in site.rows(Dispute) if row.taken_minor)
    lost = Counter({item: n for item, n in lost.items() if f"/{act.kind}:{act.owner}" in item[0]})
    figures.lost += sum((taken - lost).values()) + sum((lost - taken).values())
    figures.doubled += max(sum(moved.values()) - 1, 0)
    figures.lost += sum((moved - ours).values()) + sum((ours - moved).values())
    figures.stuck += not settled
