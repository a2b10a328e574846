"""Who works at a business, and whom it asked to join."""

import sqlalchemy as sa
from alembic import op

from core.models import UTCDateTime, tables_by_kind
from core.rls import statements

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

TABLES = ("invitations", "memberships")


def upgrade() -> None:
    op.create_table('invitations',
    sa.Column('business_id', sa.String(), nullable=False),
    sa.Column('id', sa.String(), nullable=False),
    sa.Column('email', sa.String(), nullable=False),
    sa.Column('email_key', sa.String(), nullable=False),
    sa.Column('role', sa.String(), nullable=False),
    sa.Column('invited_by', sa.String(), nullable=True),
    sa.Column('created_at', UTCDateTime(), nullable=False),
    sa.Column('expires_at', UTCDateTime(), nullable=False),
    sa.Column('accepted_at', UTCDateTime(), nullable=True),
    sa.Column('revoked_at', UTCDateTime(), nullable=True),
    sa.ForeignKeyConstraint(['business_id'], ['businesses.business_id'], name=op.f('fk_invitations_business_id')),
    sa.PrimaryKeyConstraint('business_id', 'id', name=op.f('pk_invitations'))
    )
    op.create_index('ix_invitations_email_key', 'invitations', ['email_key'], unique=False)
    op.create_table('memberships',
    sa.Column('business_id', sa.String(), nullable=False),
    sa.Column('id', sa.String(), nullable=False),
    sa.Column('identity_id', sa.String(), nullable=False),
    sa.Column('email', sa.String(), nullable=False),
    sa.Column('email_key', sa.String(), nullable=False),
    sa.Column('name', sa.String(), nullable=False),
    sa.Column('role', sa.String(), nullable=False),
    sa.Column('created_at', UTCDateTime(), nullable=False),
    sa.Column('removed_at', UTCDateTime(), nullable=True),
    sa.ForeignKeyConstraint(['business_id'], ['businesses.business_id'], name=op.f('fk_memberships_business_id')),
    sa.PrimaryKeyConstraint('business_id', 'id', name=op.f('pk_memberships')),
    sa.UniqueConstraint('business_id', 'identity_id', name=op.f('uq_memberships_business_id_identity_id'))
    )
    op.create_index('ix_memberships_email_key', 'memberships', ['email_key'], unique=False)
    op.create_index('ix_memberships_identity', 'memberships', ['identity_id'], unique=False)
    _row_level_security()


def _row_level_security() -> None:
    connection = op.get_bind()
    if connection.dialect.name != "postgresql":
        return
    kinds = tables_by_kind()
    for table in TABLES:
        for statement in statements(table, kinds[table]):
            connection.exec_driver_sql(statement)
