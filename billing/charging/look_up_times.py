"""When the reconciler looks up a charge or refund whose outcome is not known (wall clock)."""

from __future__ import annotations

from datetime import datetime, timedelta

from core import clock

LEASE = timedelta(seconds=60)
"""The time that one process has for a gateway call. Then another process may look it up."""
RETRY = [timedelta(seconds=s) for s in (3, 10, 30, 120, 600, 1800, 3600, 6 * 3600)]


def after_lease() -> datetime:
    return clock.wall() + LEASE


BANK = timedelta(hours=12)
"""Between two look-ups of a payment that the bank confirms within days. A notification of the processor usually comes first."""


def next_bank_look_up() -> datetime:
    return clock.wall() + BANK


SETTLED = tuple(timedelta(days=days) for days in (1, 3, 7, 14, 30))
"""After a refund succeeded: when it is looked up again, because its failure may have been notified while the portal was away."""


def next_settled_look_up(settled_at: datetime) -> datetime | None:
    """Return when a refund that succeeded at `settled_at` (billing time) is looked up again. None after the last time."""
    age = clock.now() - settled_at
    return next((clock.wall() + wait - age for wait in SETTLED if wait > age), None)


def next_look_up(tries: int) -> datetime:
    """Return the time of the next look-up after `tries` calls. The waits grow from seconds to hours."""
    return clock.wall() + RETRY[min(tries, len(RETRY) - 1)]
