"""The state of a business's external billing, for the console."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import and_, func, select

from billing.external.port import UNDECIDED
from billing.model.catalogue import Product
from billing.model.delegated_actions import DelegatedAction
from billing.model.lifecycle import LIVE
from billing.model.parties import Customer
from billing.model.subscriptions import Subscription
from core.db import ScopedSession
from tenants.external.account import ExternalAccount, ExternalWebhook, PullCursor
from tenants.external.systems import SYSTEMS

SHOWN = 20


@dataclass(frozen=True, slots=True)
class DelegatedActionRow:
    """A delegated action with the plan and the customer."""

    act: DelegatedAction
    plan: str
    customer: str


@dataclass(frozen=True, slots=True)
class AccountStatus:
    """An account at one system. `reading`: (start, rows so far) of an unfinished pull. `told_at`: when the last webhook arrived."""

    account: ExternalAccount
    title: str
    reading: tuple[datetime, int] | None
    told_at: datetime | None

    @property
    def is_away(self) -> bool:
        """Whether the last request to the account failed."""
        item = self.account
        return item.failed_at is not None and (item.heard_at is None or item.failed_at > item.heard_at)


@dataclass(frozen=True, slots=True)
class Standing:
    """`collected`: system → (number of subscriptions, of them active)."""

    accounts: list[AccountStatus]
    collected: dict[str, tuple[int, int]]
    waiting: int
    acts: list[DelegatedActionRow]


def external_status(db: ScopedSession) -> Standing:
    return Standing(
        accounts=[_account(db, row) for row in db.scalars(select(ExternalAccount).order_by(ExternalAccount.created_at))],
        collected=_collected(db),
        waiting=db.scalar(select(func.count()).select_from(DelegatedAction).where(DelegatedAction.status == "pending")) or 0,
        acts=_acts(db),
    )


def _account(db: ScopedSession, row: ExternalAccount) -> AccountStatus:
    cursors = list(db.scalars(select(PullCursor).where(PullCursor.id.startswith(f"{row.id}:"))))
    known = SYSTEMS.get(row.id)
    return AccountStatus(
        account=row,
        title=known.title if known else row.id,
        reading=(min(cursor.until for cursor in cursors), sum(cursor.rows for cursor in cursors)) if cursors else None,
        told_at=db.scalar(select(func.max(ExternalWebhook.received_at)).where(ExternalWebhook.id.startswith(f"{row.id}/"))),
    )


def _collected(db: ScopedSession) -> dict[str, tuple[int, int]]:
    query = (
        select(Subscription.collected_by, Subscription.status, func.count())
        .where(Subscription.collected_by.not_in(("us", UNDECIDED)))
        .group_by(Subscription.collected_by, Subscription.status)
        .order_by(Subscription.collected_by)
    )
    out: dict[str, tuple[int, int]] = {}
    for system, status, count in db.execute(query):
        every, running = out.get(system, (0, 0))
        out[system] = every + count, running + (count if status in LIVE else 0)
    return out


def _acts(db: ScopedSession) -> list[DelegatedActionRow]:
    """Return the latest actions: pending ones first, then by time, newest first."""
    of = and_(Subscription.business_id == DelegatedAction.business_id, Subscription.id == DelegatedAction.subscription_id)
    sold = and_(Product.business_id == Subscription.business_id, Product.id == Subscription.product_id)
    by = and_(Customer.business_id == DelegatedAction.business_id, Customer.customer_id == DelegatedAction.customer_id)
    query = (
        select(DelegatedAction, Product.name, Customer.name, Customer.email)
        .join(Subscription, of)
        .join(Product, sold)
        .join(Customer, by)
        .order_by((DelegatedAction.status == "pending").desc(), DelegatedAction.created_at.desc(), DelegatedAction.id.desc())
        .limit(SHOWN)
    )
    return [DelegatedActionRow(row[0], row[1], row[2] or row[3]) for row in db.execute(query)]
