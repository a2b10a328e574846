"""Add the tax set-up of a business, the checks of VAT IDs, and the evidence of the tax of an invoice.

The rates of businesses (`tax_rates`) become their set-up with the same treatments, in a step. `tax_rates` stays until a later release.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.engine import Connection

from core.migration_steps import FillStep, RowBatch
from core.models import CustomerOwned, JSONType, UTCDateTime
from core.rls import statements

revision = "0033"
down_revision = "0032"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("businesses", sa.Column("tax_setup", JSONType, nullable=True))
    op.add_column("invoices", sa.Column("tax_evidence", JSONType, nullable=True))
    op.create_table(
        "tax_id_checks",
        sa.Column("business_id", sa.String(), nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("customer_id", sa.String(), nullable=False),
        sa.Column("number", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("checked_at", UTCDateTime(), nullable=True),
        sa.Column("consultation", sa.String(), nullable=True),
        sa.Column("name", sa.String(), nullable=True),
        sa.Column("error", sa.String(), nullable=True),
        sa.Column("attempts", sa.BigInteger(), nullable=False),
        sa.Column("due_at", UTCDateTime(), nullable=True),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["business_id"], ["businesses.business_id"], name=op.f("fk_tax_id_checks_business_id")),
        sa.ForeignKeyConstraint(
            ["business_id", "customer_id"],
            ["customers.business_id", "customers.customer_id"],
            name=op.f("fk_tax_id_checks_business_id_customer_id"),
        ),
        sa.PrimaryKeyConstraint("business_id", "id", name=op.f("pk_tax_id_checks")),
    )
    op.create_index("ix_tax_id_checks_due", "tax_id_checks", ["business_id", "due_at"], unique=False)
    connection = op.get_bind()
    if connection.dialect.name == "postgresql":
        for statement in statements("tax_id_checks", CustomerOwned):
            connection.exec_driver_sql(statement)


_BUSINESSES = sa.table(
    "businesses", sa.column("business_id"), sa.column("tax_rates", JSONType), sa.column("tax_setup", JSONType)
)


def _convert(connection: Connection, batch: RowBatch) -> int:
    found = connection.execute(
        sa.select(_BUSINESSES.c.business_id, _BUSINESSES.c.tax_rates).where(
            sa.text(batch.where).bindparams(**batch.params), _BUSINESSES.c.tax_setup.is_(None)
        )
    ).all()
    filled = [row for row in found if row.tax_rates]
    for row in filled:
        connection.execute(
            sa.update(_BUSINESSES)
            .where(_BUSINESSES.c.business_id == row.business_id)
            .values(tax_setup=_setup_of(row.tax_rates))
        )
    return len(filled)


def _setup_of(tax_rates: Mapping[str, Any]) -> dict[str, Any]:
    """Return the set-up with the same treatments as {country: basis points, or {bps, code, reason, categories}}."""
    rates: list[dict[str, Any]] = []
    for country, entry in tax_rates.items():
        rates.append({"country": country, **_values(entry)})
        if isinstance(entry, Mapping):
            rates += [{"country": country, "category": name, **_values(own)} for name, own in (entry.get("categories") or {}).items()]
    return {"rates": [{"id": f"txr_{number}", **rate} for number, rate in enumerate(rates, 1)]}


def _values(entry: Any) -> dict[str, Any]:
    data = entry if isinstance(entry, Mapping) else {"bps": entry or 0}
    return {"bps": int(data.get("bps") or 0), **{name: data[name] for name in ("code", "reason") if name in data}}


steps = (FillStep("tax rates as a set-up", "businesses", ("business_id",), _convert),)
