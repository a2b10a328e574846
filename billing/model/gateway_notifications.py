"""Notifications of payment gateways, stored once under their ids. Only the system reads them."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import delete
from sqlalchemy.orm import Mapped, mapped_column

from core import clock
from core.db import Database
from core.models import Base
from core.scope import everything

KEPT = timedelta(days=90)
"""A notification that is repeated after this time causes another look-up, which changes nothing."""


class GatewayNotification(Base):
    """`id`: account and the processor's id. `kind`: what it is about (`Noun`). `key`: empty if the processor did not send it."""

    __tablename__ = "gateway_notifications"

    id: Mapped[str] = mapped_column(primary_key=True)
    payment_account_id: Mapped[str | None]
    key: Mapped[str]
    kind: Mapped[str]
    reference: Mapped[str | None]
    received_at: Mapped[datetime]


def sweep(database: Database) -> None:
    """Delete notifications that are older than `KEPT`."""
    with database.open(everything("old notifications of processors"), write=True) as db:
        db.execute(
            delete(GatewayNotification).where(GatewayNotification.received_at < clock.wall() - KEPT),
            execution_options={"synchronize_session": False},
        )
