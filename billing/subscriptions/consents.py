"""Record what a customer agreed to, read it, and delete it when the law no longer asks to keep it."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, or_, select

from billing.model.authors import author_of
from billing.model.consents import Consent, ConsentKind
from billing.model.events import emit_about
from billing.model.lifecycle import LIVE
from billing.model.subscriptions import Subscription
from billing.rights.table import consent_rule
from core import clock
from core.db import Database, ScopedSession
from core.errors import N_, Invalid
from core.ids import new_id
from core.recurring_jobs import in_turns
from core.scope import everything

TEXT_LIMIT, MOST, LISTED = 5000, 20, 100
BATCH, ROUNDS = 500, 20


@dataclass(frozen=True)
class Agreed:
    """What was agreed. `agreed_at` None: now. `address`: an IP address, or None."""

    kind: ConsentKind
    text: str
    language: str
    agreed_at: datetime | None = None
    address: str | None = None


def check(consents: Sequence[Agreed]) -> None:
    """Raise Invalid (field consents) for an empty or long text, an address that is none, a time in the future, or too many consents."""
    if len(consents) > MOST:
        raise Invalid(fields={"consents": N_("At most 20 consents.")})
    for item in consents:
        if not 1 <= len(item.text.strip()) <= TEXT_LIMIT or "\0" in item.text:
            raise Invalid(fields={"consents": N_("The text that was shown is missing or longer than 5,000 characters.")})
        if item.agreed_at is not None and item.agreed_at > clock.now() + timedelta(minutes=5):
            raise Invalid(fields={"consents": N_("Nobody agreed in the future.")})
        try:
            ipaddress.ip_address(item.address or "::")
        except ValueError:
            raise Invalid(fields={"consents": N_("This is not an IP address.")}) from None


def record(
    db: ScopedSession,
    consents: Sequence[Agreed],
    *,
    business_id: str,
    customer_id: str,
    subscription_id: str | None = None,
    payment_id: str | None = None,
) -> list[Consent]:
    """Add consents about one contract. Raises Invalid, see `check`."""
    check(consents)
    rows = []
    for item in consents:
        row = Consent(
            business_id=business_id,
            customer_id=customer_id,
            id=new_id("cns"),
            kind=item.kind,
            text=item.text.strip(),
            language=item.language,
            agreed_at=item.agreed_at or clock.now(),
            address=item.address,
            subscription_id=subscription_id,
            payment_id=payment_id,
            recorded_by=author_of(db),
            recorded_at=clock.now(),
        )
        db.add(row)
        emit_about(db, row, "consent.recorded", kind=item.kind, subscription_id=subscription_id, payment_id=payment_id)
        rows.append(row)
    return rows


def consents_of(db: ScopedSession, *, subscription_id: str | None = None, payment_id: str | None = None) -> list[Consent]:
    """Return the consents about a subscription or a purchase, oldest first. At most 100."""
    mine = Consent.subscription_id == subscription_id if subscription_id else Consent.payment_id == payment_id
    return list(db.scalars(select(Consent).where(mine).order_by(Consent.recorded_at, Consent.id).limit(LISTED)))


def sweep(database: Database) -> int:
    """Delete consents that are kept no longer (`rights/table.toml`). Those of a running subscription stay. Returns their number."""
    rule, deleted = consent_rule(), 0
    now = clock.now()
    old, ended = now - timedelta(days=366 * rule.keep_years), now - timedelta(days=366 * rule.after_end_years)
    contract = (Subscription.business_id == Consent.business_id) & (Subscription.id == Consent.subscription_id)
    query: Any = (
        select(Consent.id)
        .outerjoin(Subscription, contract)
        .where(
            Consent.recorded_at < old,
            or_(
                Consent.subscription_id.is_(None),
                Subscription.status.not_in(LIVE) & ((Subscription.cancelled_at < ended) | Subscription.cancelled_at.is_(None)),
            ),
        )
    )
    for _ in range(ROUNDS):
        with database.open(everything("find consents that are kept no longer")) as db:
            ids = [row[0] for row in db.execute(in_turns(query, Consent.business_id, Consent.recorded_at, limit=BATCH))]
        if ids:
            with database.open(everything("delete consents that are kept no longer"), write=True) as db:
                db.execute(delete(Consent).where(Consent.id.in_(ids)), execution_options={"synchronize_session": False})
            deleted += len(ids)
        if len(ids) < BATCH:
            break
    return deleted
