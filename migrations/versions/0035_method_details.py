"""Add the test of a payment account, its key's age, defaults per currency, and more details of payment methods."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from core.models import JSONType, UTCDateTime

revision = "0035"
down_revision = "0034"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("payment_account_details", sa.Column("test_due_at", UTCDateTime(), nullable=True))
    op.add_column("payment_account_details", sa.Column("test_result", JSONType, nullable=True))
    op.add_column("payment_account_details", sa.Column("key_set_at", UTCDateTime(), nullable=True))
    op.add_column("payment_account_details", sa.Column("sealed_former_webhook_secret", sa.String(), nullable=True))
    op.add_column("payment_account_details", sa.Column("former_webhook_secret_until", UTCDateTime(), nullable=True))
    op.add_column("payment_accounts", sa.Column("default_currencies", JSONType, nullable=True))
    for name in ("wallet", "display", "bank_code", "mandate", "mandate_reference", "fingerprint", "former_reference"):
        op.add_column("payment_methods", sa.Column(name, sa.String(), nullable=True))
    op.add_column("payment_methods", sa.Column("mandate_at", UTCDateTime(), nullable=True))
