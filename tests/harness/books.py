"""Both books after a death: what the provider moved, what the ledger says, and whether anything stays open."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from billing.payments import Payment, Refund
from tests.harness.acts import Act
from tests.stories.shop import Shop

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


def settle(shop: Shop, act: Act) -> bool:
    """As after a restart: the worker runs until nothing is open, the person clicks again, the worker runs. False: it stays open."""
    if not _work(shop, lambda: True):
        return False
    act.again()
    return _work(shop, act.done)


def _work(shop: Shop, done: Callable[[], bool]) -> bool:
    for _ in range(ROUNDS):
        shop.overdue()
        shop.house.worker.drain()
        if not shop.rows(Payment, is_open=True) and not shop.rows(Refund, status="pending") and done():
            return True
        time.sleep(0.02)  # a server may need a moment to see that its client died
    return False


def compare(shop: Shop, act: Act, figures: Figures, settled: bool) -> None:
    """One act, one movement: more is doubled; a movement without its row, or a row without its movement, is lost."""
    moved = Counter((key, money.minor) for _, key, money in shop.gateway.movements() if f"/{act.kind}:{act.owner}" in key)
    rows = [*shop.rows(Payment, status="succeeded"), *shop.rows(Refund, status="succeeded")]
    ours = Counter((one.key, one.amount_minor) for one in rows if one.amount_minor and f"/{act.kind}:{act.owner}" in one.key)
    figures.doubled += max(sum(moved.values()) - 1, 0)
    figures.lost += sum((moved - ours).values()) + sum((ours - moved).values())
    figures.stuck += not settled
