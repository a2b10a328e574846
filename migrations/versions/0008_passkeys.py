"""Add passkeys with their ceremonies, and recovery requests of people who forgot their address."""

import sqlalchemy as sa
from alembic import op

from core.models import UTCDateTime
from core.rls import statements
from migrations.former_names import tables_by_kind

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

TABLES = ("passkeys", "recoveries")


def upgrade() -> None:
    op.create_table('passkeys',
    sa.Column('identity_id', sa.String(), nullable=False),
    sa.Column('id', sa.String(), nullable=False),
    sa.Column('name', sa.String(), nullable=False),
    sa.Column('public_key', sa.LargeBinary(), nullable=False),
    sa.Column('sign_count', sa.BigInteger(), nullable=False),
    sa.Column('is_backed_up', sa.Boolean(), nullable=False),
    sa.Column('created_at', UTCDateTime(), nullable=False),
    sa.Column('last_used_at', UTCDateTime(), nullable=True),
    sa.ForeignKeyConstraint(['identity_id'], ['identities.identity_id'], name=op.f('fk_passkeys_identity_id')),
    sa.PrimaryKeyConstraint('identity_id', 'id', name=op.f('pk_passkeys'))
    )
    op.create_table('passkey_ceremonies',
    sa.Column('id', sa.String(), nullable=False),
    sa.Column('browser_hash', sa.String(), nullable=False),
    sa.Column('identity_id', sa.String(), nullable=True),
    sa.Column('challenge', sa.LargeBinary(), nullable=False),
    sa.Column('expires_at', UTCDateTime(), nullable=False),
    sa.Column('used_at', UTCDateTime(), nullable=True),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_passkey_ceremonies'))
    )
    op.create_table('recoveries',
    sa.Column('id', sa.String(), nullable=False),
    sa.Column('typed', sa.String(), nullable=False),
    sa.Column('business_id', sa.String(), nullable=True),
    sa.Column('device', sa.String(), nullable=False),
    sa.Column('created_at', UTCDateTime(), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_recoveries'))
    )
    op.create_index('ix_passkey_ceremonies_expires', 'passkey_ceremonies', ['expires_at'], unique=False)
    _row_level_security()


def _row_level_security() -> None:
    connection = op.get_bind()
    if connection.dialect.name != "postgresql":
        return
    kinds = tables_by_kind()
    for table in TABLES:
        for statement in statements(table, kinds[table]):
            connection.exec_driver_sql(statement)
