"""What gateways told us, stored once under its id. Only the system reads it."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import Mapped, mapped_column

from core.models import Base


class GatewayNotification(Base):
    __tablename__ = "gateway_notifications"

    id: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str]
    kind: Mapped[str]
    received_at: Mapped[datetime]
