"""What a customer asked for that another system has to do: written and committed first, sent after, shown until it is answered."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Index, text
from sqlalchemy.orm import Mapped, mapped_column

from core.models import Base, CustomerOwned, of_customer, within_customer


class ForwardedAct(Base, CustomerOwned):
    """`verb` and `wish` (its parameters, JSON) under `key`, which every send of it carries. At most one pending per subscription.

    `status`: see `lifecycle.FORWARDED`. `sent_at`: it may have arrived; asked again by look-up before it is sent again.
    """

    __tablename__ = "forwarded_acts"
    __table_args__ = (
        of_customer(),
        within_customer("subscription_id", "subscriptions"),
        Index("uq_forwarded_acts_pending", "business_id", "subscription_id", unique=True,
              sqlite_where=text("status = 'pending'"), postgresql_where=text("status = 'pending'")),
        Index("ix_forwarded_acts_subscription", "business_id", "subscription_id", "created_at"),
        Index("ix_forwarded_acts_check", "status", "check_at"),
    )

    subscription_id: Mapped[str]
    system: Mapped[str]  # the subscription's collected_by
    verb: Mapped[str]
    wish: Mapped[dict] = mapped_column(default=dict)
    status: Mapped[str] = mapped_column(default="pending")
    key: Mapped[str]
    error: Mapped[str | None]  # in words, as the other system said it
    link: Mapped[str | None]  # a page of the other system that the customer has to go to
    actor_type: Mapped[str]
    actor_id: Mapped[str | None]
    attempts: Mapped[int] = mapped_column(default=0)
    fence: Mapped[int] = mapped_column(default=0)
    sent_at: Mapped[datetime | None]  # wall clock
    check_at: Mapped[datetime | None]  # wall clock: when to ask (again)
    answered_at: Mapped[datetime | None]
    created_at: Mapped[datetime]
