"""Add account merges and exports of personal data."""

import sqlalchemy as sa
from alembic import op

from core.models import PersonOwned, UTCDateTime
from core.rls import statements

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("identity_emails", sa.Column("came_from", sa.String(), nullable=True))
    op.add_column("provider_logins", sa.Column("came_from", sa.String(), nullable=True))
    op.add_column("passkeys", sa.Column("handle", sa.String(), nullable=True))
    op.create_table(
        "account_merges",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("into_id", sa.String(), nullable=False),
        sa.Column("from_id", sa.String(), nullable=False),
        sa.Column("email", sa.String(), nullable=False),
        sa.Column("email_key", sa.String(), nullable=False),
        sa.Column("into_agreed_at", UTCDateTime(), nullable=True),
        sa.Column("from_agreed_at", UTCDateTime(), nullable=True),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.Column("expires_at", UTCDateTime(), nullable=False),
        sa.Column("ended_at", UTCDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_account_merges")),
    )
    op.create_index("ix_account_merges_from_id", "account_merges", ["from_id"], unique=False)
    op.create_index("ix_account_merges_into_id", "account_merges", ["into_id"], unique=False)
    op.create_table(
        "person_exports",
        sa.Column("identity_id", sa.String(), nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("total", sa.BigInteger(), nullable=False),
        sa.Column("written", sa.BigInteger(), nullable=False),
        sa.Column("files", sa.BigInteger(), nullable=False),
        sa.Column("step", sa.BigInteger(), nullable=False),
        sa.Column("mark", sa.String(), nullable=False),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.Column("finished_at", UTCDateTime(), nullable=True),
        sa.ForeignKeyConstraint(["identity_id"], ["identities.identity_id"], name=op.f("fk_person_exports_identity_id")),
        sa.PrimaryKeyConstraint("identity_id", "id", name=op.f("pk_person_exports")),
    )
    op.create_table(
        "person_export_files",
        sa.Column("identity_id", sa.String(), nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("export_id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["identity_id", "export_id"], ["person_exports.identity_id", "person_exports.id"],
                                name=op.f("fk_person_export_files_identity_id_export_id")),
        sa.ForeignKeyConstraint(["identity_id"], ["identities.identity_id"], name=op.f("fk_person_export_files_identity_id")),
        sa.PrimaryKeyConstraint("identity_id", "id", name=op.f("pk_person_export_files")),
    )
    if op.get_bind().dialect.name == "postgresql":
        for table, kind in (("account_merges", None), ("person_exports", PersonOwned), ("person_export_files", PersonOwned)):
            for statement in statements(table, kind):
                op.get_bind().exec_driver_sql(statement)
