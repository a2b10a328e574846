"""Add when the next charge of a subscription is announced, from when it may be charged, and which reminders a customer switched off."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from core.migration_steps import IndexStep
from core.models import JSONType, UTCDateTime

revision = "0044"
down_revision = "0043"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("subscriptions", sa.Column("notice_at", UTCDateTime(), nullable=True))
    op.add_column("subscriptions", sa.Column("notice_version", sa.BigInteger(), nullable=True))
    op.add_column("subscriptions", sa.Column("charge_from", UTCDateTime(), nullable=True))
    op.add_column("customers", sa.Column("notices_off", JSONType, nullable=True))


steps = (
    IndexStep("ix_subscriptions_notice_unplanned", "subscriptions", ("business_id", "next_billing_at"),
          where="collected_by = 'us' AND status = 'active' AND coalesce(notice_version, 0) <> version"),
    IndexStep("ix_subscriptions_notice_due", "subscriptions", ("business_id", "notice_at"), where="notice_at IS NOT NULL"),
)
