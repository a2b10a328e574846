"""Add refund requests and their messages."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from core.models import CustomerOwned, UTCDateTime
from core.rls import statements

revision = "0047"
down_revision = "0046"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "refund_requests",
        sa.Column("payment_id", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=True),
        sa.Column("answer", sa.String(), nullable=True),
        sa.Column("answer_by", UTCDateTime(), nullable=False),
        sa.Column("reminded_at", UTCDateTime(), nullable=True),
        sa.Column("decided_at", UTCDateTime(), nullable=True),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.Column("business_id", sa.String(), nullable=False),
        sa.Column("customer_id", sa.String(), nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["business_id"], ["businesses.business_id"], name=op.f("fk_refund_requests_business_id")),
        sa.ForeignKeyConstraint(
            ["business_id", "customer_id"],
            ["customers.business_id", "customers.customer_id"],
            name=op.f("fk_refund_requests_business_id_customer_id"),
        ),
        sa.ForeignKeyConstraint(
            ["business_id", "customer_id", "payment_id"],
            ["payments.business_id", "payments.customer_id", "payments.id"],
            name=op.f("fk_refund_requests_business_id_customer_id_payment_id"),
        ),
        sa.PrimaryKeyConstraint("business_id", "id", name=op.f("pk_refund_requests")),
        sa.UniqueConstraint("business_id", "customer_id", "id", name=op.f("uq_refund_requests_business_id_customer_id_id")),
    )
    is_open = sa.text("status = 'open'")
    op.create_index(
        "uq_refund_requests_open", "refund_requests", ["business_id", "payment_id"], unique=True, sqlite_where=is_open, postgresql_where=is_open
    )
    op.create_index("ix_refund_requests_created", "refund_requests", ["business_id", "created_at", "id"], unique=False)
    op.create_index("ix_refund_requests_customer", "refund_requests", ["business_id", "customer_id", "created_at"], unique=False)
    op.create_index("ix_refund_requests_overdue", "refund_requests", ["status", "answer_by"], unique=False)
    op.create_table(
        "refund_request_messages",
        sa.Column("request_id", sa.String(), nullable=False),
        sa.Column("by_customer", sa.Boolean(), nullable=False),
        sa.Column("text", sa.String(), nullable=False),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.Column("business_id", sa.String(), nullable=False),
        sa.Column("customer_id", sa.String(), nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["business_id"], ["businesses.business_id"], name=op.f("fk_refund_request_messages_business_id")),
        sa.ForeignKeyConstraint(
            ["business_id", "customer_id"],
            ["customers.business_id", "customers.customer_id"],
            name=op.f("fk_refund_request_messages_business_id_customer_id"),
        ),
        sa.ForeignKeyConstraint(
            ["business_id", "customer_id", "request_id"],
            ["refund_requests.business_id", "refund_requests.customer_id", "refund_requests.id"],
            name=op.f("fk_refund_request_messages_business_id_customer_id_request_id"),
        ),
        sa.PrimaryKeyConstraint("business_id", "id", name=op.f("pk_refund_request_messages")),
    )
    op.create_index(
        "ix_refund_request_messages_request", "refund_request_messages", ["business_id", "request_id", "created_at"], unique=False
    )
    connection = op.get_bind()
    if connection.dialect.name == "postgresql":
        for table in ("refund_requests", "refund_request_messages"):
            for statement in statements(table, CustomerOwned):
                connection.exec_driver_sql(statement)
