"""Add tokens of customer API clients, and the origins from which browsers may call that API."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from core.models import BusinessOwned, UTCDateTime
from core.rls import statements

revision = "0048"
down_revision = "0047"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "access_tokens",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("token_hash", sa.String(), nullable=False),
        sa.Column("scopes", sa.String(), nullable=False),
        sa.Column("session_id", sa.String(), nullable=True),
        sa.Column("business_id", sa.String(), nullable=True),
        sa.Column("customer_id", sa.String(), nullable=True),
        sa.Column("created_by", sa.String(), nullable=False),
        sa.Column("label", sa.String(), nullable=False),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.Column("last_used_at", UTCDateTime(), nullable=True),
        sa.Column("expires_at", UTCDateTime(), nullable=False),
        sa.Column("revoked_at", UTCDateTime(), nullable=True),
        sa.ForeignKeyConstraint(
            ["business_id", "customer_id"],
            ["customers.business_id", "customers.customer_id"],
            name=op.f("fk_access_tokens_business_id_customer_id"),
        ),
        sa.ForeignKeyConstraint(["session_id"], ["browser_sessions.id"], name=op.f("fk_access_tokens_session_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_access_tokens")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_access_tokens_token_hash")),
    )
    op.create_index("ix_access_tokens_session", "access_tokens", ["session_id"], unique=False)
    op.create_index("ix_access_tokens_creator", "access_tokens", ["business_id", "created_by"], unique=False)
    op.create_index("ix_access_tokens_expiry", "access_tokens", ["expires_at"], unique=False)
    op.create_table(
        "api_origins",
        sa.Column("business_id", sa.String(), nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("origin", sa.String(), nullable=False),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["business_id"], ["businesses.business_id"], name=op.f("fk_api_origins_business_id")),
        sa.PrimaryKeyConstraint("business_id", "id", name=op.f("pk_api_origins")),
        sa.UniqueConstraint("business_id", "origin", name=op.f("uq_api_origins_business_id_origin")),
    )
    op.create_index("ix_api_origins_origin", "api_origins", ["origin"], unique=False)
    connection = op.get_bind()
    if connection.dialect.name == "postgresql":
        for statement in statements("api_origins", BusinessOwned):
            connection.exec_driver_sql(statement)
