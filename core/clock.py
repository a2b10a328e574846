"""Two clocks: `now()` is billing time, which tests and the sandbox can move; `wall()` is real time.

Sessions, leases, limits and signatures use `wall()`; anything about periods, invoices and renewals uses `now()`.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_offset = timedelta(0)


def wall() -> datetime:
    """Real time, aware, UTC."""
    return datetime.now(UTC)


def now() -> datetime:
    """Billing time, aware, UTC: real time plus the offset, which is zero in live mode."""
    return wall() + _offset


def offset() -> timedelta:
    return _offset


def turn(offset: timedelta) -> None:
    """Set the difference between billing time and real time. Only test deployments call this."""
    global _offset
    _offset = offset
