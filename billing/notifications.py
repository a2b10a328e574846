"""What gateways told us, stored once under its id. Only the system reads it."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import delete
from sqlalchemy.orm import Mapped, mapped_column

from core import clock
from core.db import Database
from core.models import Base
from core.scope import everything

KEPT = timedelta(days=90)
"""A notification that comes again after this is looked up once more, which changes nothing."""


class GatewayNotification(Base):
    __tablename__ = "gateway_notifications"

    id: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str]
    kind: Mapped[str]
    received_at: Mapped[datetime]


def sweep(database: Database) -> None:
    """Forget notifications that are older than `KEPT`."""
    with database.open(everything("old notifications of processors"), write=True) as db:
        db.execute(delete(GatewayNotification).where(GatewayNotification.received_at < clock.wall() - KEPT),
                   execution_options={"synchronize_session": False})
