"""Add indexes by business and date of the renewals and endings that are due."""

from core.migration_steps import IndexStep

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Do nothing: the indexes are steps."""


steps = (
    IndexStep("ix_subscriptions_renewing", "subscriptions", ("business_id", "next_billing_at"),
          where="collected_by = 'us' AND (status || '') = 'active'"),
    IndexStep("ix_subscriptions_ending", "subscriptions", ("business_id", "next_billing_at"),
          where="collected_by = 'us' AND cancel_at_period_end", sqlite_where="collected_by = 'us' AND cancel_at_period_end = 1"),
)
