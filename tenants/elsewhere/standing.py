"""How a business stands with the system that collects for it: for the console, which only looks."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import and_, func, select

from billing.catalogue import Product
from billing.forwarded import ForwardedAct
from billing.lifecycle import LIVE
from billing.parties import Customer
from billing.subscriptions import Subscription
from core.db import ScopedSession
from tenants.elsewhere.account import ElsewhereAccount, ElsewhereHook, PullCursor
from tenants.elsewhere.reader import SOURCE

SHOWN = 20


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked of it, for which plan of whom."""

    act: ForwardedAct
    plan: str
    customer: str


@dataclass(frozen=True, slots=True)
class Standing:
    """`collected`: system → (its subscriptions, those that run). `reading`: (since when, rows so far) of a pull that is not finished."""

    account: ElsewhereAccount | None
    reading: tuple[datetime, int] | None
    told_at: datetime | None
    collected: dict[str, tuple[int, int]]
    waiting: int
    acts: list[Asked]

    @property
    def is_away(self) -> bool:
        """Whether it has not answered since it last failed to."""
        one = self.account
        return one is not None and one.failed_at is not None and (one.heard_at is None or one.failed_at > one.heard_at)


def standing(db: ScopedSession) -> Standing:
    cursors = list(db.scalars(select(PullCursor)))
    return Standing(
        account=db.scalar(select(ElsewhereAccount).where(ElsewhereAccount.id == SOURCE)),
        reading=(min(one.until for one in cursors), sum(one.rows for one in cursors)) if cursors else None,
        told_at=db.scalar(select(func.max(ElsewhereHook.received_at))), collected=_collected(db),
        waiting=db.scalar(select(func.count()).select_from(ForwardedAct).where(ForwardedAct.status == "pending")) or 0, acts=_acts(db))


def _collected(db: ScopedSession) -> dict[str, tuple[int, int]]:
    query = (
        select(Subscription.collected_by, Subscription.status, func.count()).where(Subscription.collected_by != "us")
        .group_by(Subscription.collected_by, Subscription.status).order_by(Subscription.collected_by)
    )
    out: dict[str, tuple[int, int]] = {}
    for system, status, count in db.execute(query):
        every, running = out.get(system, (0, 0))
        out[system] = every + count, running + (count if status in LIVE else 0)
    return out


def _acts(db: ScopedSession) -> list[Asked]:
    """What waits first, then what came of the rest, the newest first."""
    of = and_(Subscription.business_id == ForwardedAct.business_id, Subscription.id == ForwardedAct.subscription_id)
    sold = and_(Product.business_id == Subscription.business_id, Product.id == Subscription.product_id)
    by = and_(Customer.business_id == ForwardedAct.business_id, Customer.customer_id == ForwardedAct.customer_id)
    query = (
        select(ForwardedAct, Product.name, Customer.name, Customer.email).join(Subscription, of).join(Product, sold).join(Customer, by)
        .order_by((ForwardedAct.status == "pending").desc(), ForwardedAct.created_at.desc(), ForwardedAct.id.desc()).limit(SHOWN)
    )
    return [Asked(row[0], row[1], row[2] or row[3]) for row in db.execute(query)]
