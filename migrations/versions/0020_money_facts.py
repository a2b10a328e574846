"""Record the credit that a refund removed, the authors of payments and refunds, and the error of a reconciliation exception.

License keys record a decision of the business and a refund separately from the state of the subscription. An existing disabled key whose
subscription does not explain it counts as disabled by the business.
"""

import sqlalchemy as sa
from alembic import op

from core.models import JSONType, UTCDateTime

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("refunds", sa.Column("withdrawn", JSONType, nullable=True))
    op.add_column("refunds", sa.Column("author", JSONType, nullable=True))
    op.add_column("payments", sa.Column("author", JSONType, nullable=True))
    op.add_column("parked_money", sa.Column("detail", sa.String(), nullable=True))
    op.add_column("license_keys", sa.Column("disabled_by_business_at", UTCDateTime(), nullable=True))
    op.add_column("license_keys", sa.Column("revoked_at", UTCDateTime(), nullable=True))
    if op.get_bind().dialect.name == "postgresql":
        op.get_bind().exec_driver_sql("SELECT set_config('portal.kind', 'everything', true)")
    _disabled_by_whom()


def _disabled_by_whom() -> None:
    key = sa.table("license_keys", *(sa.column(name) for name in (
        "business_id", "subscription_id", "status", "created_at", "disabled_by_business_at")))
    subscription = sa.table("subscriptions", *(sa.column(name) for name in ("business_id", "id", "status")))
    works = sa.select(sa.literal(1)).where(
        subscription.c.business_id == key.c.business_id, subscription.c.id == key.c.subscription_id,
        subscription.c.status.in_(("active", "past_due"))).exists()
    op.get_bind().execute(sa.update(key).values(disabled_by_business_at=key.c.created_at).where(
        key.c.status == "disabled", key.c.subscription_id.is_(None) | works))
