"""Add external billing: source ids, connected accounts, pull cursors and delegated actions."""

import sqlalchemy as sa
from alembic import op

from core.models import JSONType, UTCDateTime
from core.rls import statements
from migrations.former_names import tables_by_kind

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

TABLES = ("elsewhere_accounts", "elsewhere_hooks", "forwarded_acts", "pull_cursors", "source_ids")


def upgrade() -> None:
    op.create_table('source_ids',
    sa.Column('business_id', sa.String(), nullable=False),
    sa.Column('id', sa.String(), nullable=False),
    sa.Column('source', sa.String(), nullable=False),
    sa.Column('digest', sa.String(), nullable=False),
    sa.Column('loaded_at', UTCDateTime(), nullable=False),
    sa.ForeignKeyConstraint(['business_id'], ['businesses.business_id'], name=op.f('fk_source_ids_business_id')),
    sa.PrimaryKeyConstraint('business_id', 'id', name=op.f('pk_source_ids')),
    sa.UniqueConstraint('business_id', 'source', 'id', name=op.f('uq_source_ids_business_id_source_id'))
    )
    op.create_table('elsewhere_accounts',
    sa.Column('business_id', sa.String(), nullable=False),
    sa.Column('id', sa.String(), nullable=False),
    sa.Column('base_url', sa.String(), nullable=False),
    sa.Column('key_sealed', sa.String(), nullable=False),
    sa.Column('webhook_sealed', sa.String(), nullable=True),
    sa.Column('pulled_at', UTCDateTime(), nullable=True),
    sa.Column('created_at', UTCDateTime(), nullable=False),
    sa.ForeignKeyConstraint(['business_id'], ['businesses.business_id'], name=op.f('fk_elsewhere_accounts_business_id')),
    sa.PrimaryKeyConstraint('business_id', 'id', name=op.f('pk_elsewhere_accounts'))
    )
    op.create_table('pull_cursors',
    sa.Column('business_id', sa.String(), nullable=False),
    sa.Column('id', sa.String(), nullable=False),
    sa.Column('until', UTCDateTime(), nullable=False),
    sa.Column('page', sa.BigInteger(), nullable=False),
    sa.Column('rows', sa.BigInteger(), nullable=False),
    sa.Column('done_at', UTCDateTime(), nullable=True),
    sa.ForeignKeyConstraint(['business_id'], ['businesses.business_id'], name=op.f('fk_pull_cursors_business_id')),
    sa.PrimaryKeyConstraint('business_id', 'id', name=op.f('pk_pull_cursors'))
    )
    op.create_table('elsewhere_hooks',
    sa.Column('business_id', sa.String(), nullable=False),
    sa.Column('id', sa.String(), nullable=False),
    sa.Column('type', sa.String(), nullable=False),
    sa.Column('received_at', UTCDateTime(), nullable=False),
    sa.ForeignKeyConstraint(['business_id'], ['businesses.business_id'], name=op.f('fk_elsewhere_hooks_business_id')),
    sa.PrimaryKeyConstraint('business_id', 'id', name=op.f('pk_elsewhere_hooks'))
    )
    op.create_table('forwarded_acts',
    sa.Column('business_id', sa.String(), nullable=False),
    sa.Column('id', sa.String(), nullable=False),
    sa.Column('customer_id', sa.String(), nullable=False),
    sa.Column('subscription_id', sa.String(), nullable=False),
    sa.Column('system', sa.String(), nullable=False),
    sa.Column('verb', sa.String(), nullable=False),
    sa.Column('wish', JSONType, nullable=False),
    sa.Column('status', sa.String(), nullable=False),
    sa.Column('key', sa.String(), nullable=False),
    sa.Column('error', sa.String(), nullable=True),
    sa.Column('link', sa.String(), nullable=True),
    sa.Column('actor_type', sa.String(), nullable=False),
    sa.Column('actor_id', sa.String(), nullable=True),
    sa.Column('attempts', sa.BigInteger(), nullable=False),
    sa.Column('fence', sa.BigInteger(), nullable=False),
    sa.Column('sent_at', UTCDateTime(), nullable=True),
    sa.Column('check_at', UTCDateTime(), nullable=True),
    sa.Column('answered_at', UTCDateTime(), nullable=True),
    sa.Column('created_at', UTCDateTime(), nullable=False),
    sa.ForeignKeyConstraint(['business_id', 'customer_id', 'subscription_id'], ['subscriptions.business_id', 'subscriptions.customer_id', 'subscriptions.id'], name=op.f('fk_forwarded_acts_business_id_customer_id_subscription_id')),
    sa.ForeignKeyConstraint(['business_id', 'customer_id'], ['customers.business_id', 'customers.customer_id'], name=op.f('fk_forwarded_acts_business_id_customer_id')),
    sa.ForeignKeyConstraint(['business_id'], ['businesses.business_id'], name=op.f('fk_forwarded_acts_business_id')),
    sa.PrimaryKeyConstraint('business_id', 'id', name=op.f('pk_forwarded_acts'))
    )
    pending = sa.text("status = 'pending'")
    op.create_index('uq_forwarded_acts_pending', 'forwarded_acts', ['business_id', 'subscription_id'], unique=True, sqlite_where=pending, postgresql_where=pending)
    op.create_index('ix_forwarded_acts_subscription', 'forwarded_acts', ['business_id', 'subscription_id', 'created_at'], unique=False)
    op.create_index('ix_forwarded_acts_check', 'forwarded_acts', ['status', 'check_at'], unique=False)
    op.add_column('payment_methods', sa.Column('held_by', sa.String(), nullable=False, server_default='us'))
    _row_level_security()


def _row_level_security() -> None:
    connection = op.get_bind()
    if connection.dialect.name != "postgresql":
        return
    kinds = tables_by_kind()
    for table in TABLES:
        for statement in statements(table, kinds[table]):
            connection.exec_driver_sql(statement)
