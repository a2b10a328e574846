"""Add consents, withdrawals, and the day when a subscription was concluded."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from core.models import CustomerOwned, JSONType, UTCDateTime
from core.rls import statements

revision = "0041"
down_revision = "0040"
branch_labels = None
depends_on = None

KEPT = "3 years"
"""No consent is deleted before, whoever tries. billing/rights/table.toml says how long they are kept."""


def upgrade() -> None:
    op.create_table(
        "consents",
        sa.Column("business_id", sa.String(), nullable=False),
        sa.Column("customer_id", sa.String(), nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("text", sa.String(), nullable=False),
        sa.Column("language", sa.String(), nullable=False),
        sa.Column("agreed_at", UTCDateTime(), nullable=False),
        sa.Column("address", sa.String(), nullable=True),
        sa.Column("subscription_id", sa.String(), nullable=True),
        sa.Column("payment_id", sa.String(), nullable=True),
        sa.Column("recorded_by", JSONType, nullable=False),
        sa.Column("recorded_at", UTCDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["business_id"], ["businesses.business_id"], name=op.f("fk_consents_business_id")),
        sa.ForeignKeyConstraint(
            ["business_id", "customer_id"],
            ["customers.business_id", "customers.customer_id"],
            name=op.f("fk_consents_business_id_customer_id"),
        ),
        *(
            sa.ForeignKeyConstraint(
                ["business_id", "customer_id", column],
                [f"{target}.business_id", f"{target}.customer_id", f"{target}.id"],
                name=op.f(f"fk_consents_business_id_customer_id_{column}"),
                deferrable=True,
                initially="DEFERRED",
            )
            for column, target in (("subscription_id", "subscriptions"), ("payment_id", "payments"))
        ),
        sa.PrimaryKeyConstraint("business_id", "id", name=op.f("pk_consents")),
    )
    op.create_index("ix_consents_subscription", "consents", ["business_id", "subscription_id"], unique=False)
    op.create_index("ix_consents_payment", "consents", ["business_id", "payment_id"], unique=False)
    op.create_index("ix_consents_recorded", "consents", ["recorded_at"], unique=False)
    connection = op.get_bind()
    if connection.dialect.name == "postgresql":
        for statement in statements("consents", CustomerOwned):
            connection.exec_driver_sql(statement)
    _append_only()
    op.add_column("subscriptions", sa.Column("concluded_at", UTCDateTime(), nullable=True))
    _withdrawals()


def _withdrawals() -> None:
    op.create_table(
        "withdrawals",
        sa.Column("business_id", sa.String(), nullable=False),
        sa.Column("customer_id", sa.String(), nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("number", sa.String(), nullable=False),
        sa.Column("subscription_id", sa.String(), nullable=True),
        sa.Column("payment_id", sa.String(), nullable=True),
        sa.Column("line_ids", JSONType, nullable=False),
        sa.Column("currency", sa.String(), nullable=False),
        sa.Column("refund_minor", sa.BigInteger(), nullable=False),
        sa.Column("kept_minor", sa.BigInteger(), nullable=False),
        sa.Column("refund_ids", JSONType, nullable=False),
        sa.Column("refund_by", UTCDateTime(), nullable=False),
        sa.Column("declared_at", UTCDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["business_id"], ["businesses.business_id"], name=op.f("fk_withdrawals_business_id")),
        sa.ForeignKeyConstraint(
            ["business_id", "customer_id"],
            ["customers.business_id", "customers.customer_id"],
            name=op.f("fk_withdrawals_business_id_customer_id"),
        ),
        *(
            sa.ForeignKeyConstraint(
                ["business_id", "customer_id", column],
                [f"{target}.business_id", f"{target}.customer_id", f"{target}.id"],
                name=op.f(f"fk_withdrawals_business_id_customer_id_{column}"),
            )
            for column, target in (("subscription_id", "subscriptions"), ("payment_id", "payments"))
        ),
        sa.PrimaryKeyConstraint("business_id", "id", name=op.f("pk_withdrawals")),
        sa.UniqueConstraint("business_id", "subscription_id", name=op.f("uq_withdrawals_business_id_subscription_id")),
    )
    op.create_index("ix_withdrawals_payment", "withdrawals", ["business_id", "payment_id"], unique=False)
    connection = op.get_bind()
    if connection.dialect.name == "postgresql":
        for statement in statements("withdrawals", CustomerOwned):
            connection.exec_driver_sql(statement)


def _append_only() -> None:
    """Refuse changes of consents, and deletions before `KEPT`, for every role, including the owner of the tables."""
    connection = op.get_bind()
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(
            "CREATE FUNCTION consents_stay() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            f"IF TG_OP = 'DELETE' AND OLD.recorded_at < now() - interval '{KEPT}' THEN RETURN OLD; END IF; "
            "RAISE EXCEPTION 'consents are append-only'; END $$"
        )
        connection.exec_driver_sql(
            "CREATE TRIGGER consents_stay BEFORE UPDATE OR DELETE ON consents FOR EACH ROW EXECUTE FUNCTION consents_stay()"
        )
        return
    refusal = "BEGIN SELECT RAISE(ABORT, 'consents are append-only'); END"
    connection.exec_driver_sql(f"CREATE TRIGGER consents_stay_update BEFORE UPDATE ON consents {refusal}")
    young = f"OLD.recorded_at >= strftime('%Y-%m-%dT%H:%M:%f', 'now', '-{KEPT}')"
    connection.exec_driver_sql(f"CREATE TRIGGER consents_stay_delete BEFORE DELETE ON consents WHEN {young} {refusal}")
