"""Add webhook endpoints, deliveries and attempts."""

import sqlalchemy as sa
from alembic import op

from core.models import JSONType, UTCDateTime
from core.rls import statements
from migrations.former_names import tables_by_kind

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

TABLES = ("webhook_attempts", "webhook_deliveries", "webhook_endpoints")


def upgrade() -> None:
    op.create_table('webhook_endpoints',
    sa.Column('business_id', sa.String(), nullable=False),
    sa.Column('id', sa.String(), nullable=False),
    sa.Column('url', sa.String(), nullable=False),
    sa.Column('description', sa.String(), nullable=False),
    sa.Column('filter_types', JSONType, nullable=False),
    sa.Column('disabled', sa.Boolean(), nullable=False),
    sa.Column('disabled_at', UTCDateTime(), nullable=True),
    sa.Column('disabled_why', sa.String(), nullable=True),
    sa.Column('secret', sa.String(), nullable=False),
    sa.Column('old_secrets', JSONType, nullable=False),
    sa.Column('headers', sa.String(), nullable=True),
    sa.Column('meta', JSONType, nullable=False),
    sa.Column('rate_limit', sa.BigInteger(), nullable=True),
    sa.Column('idempotency_key', sa.String(), nullable=True),
    sa.Column('failing_since', UTCDateTime(), nullable=True),
    sa.Column('due_at', UTCDateTime(), nullable=True),
    sa.Column('busy_until', UTCDateTime(), nullable=True),
    sa.Column('fence', sa.BigInteger(), nullable=False),
    sa.Column('removed_at', UTCDateTime(), nullable=True),
    sa.Column('created_at', UTCDateTime(), nullable=False),
    sa.Column('updated_at', UTCDateTime(), nullable=False),
    sa.ForeignKeyConstraint(['business_id'], ['businesses.business_id'], name=op.f('fk_webhook_endpoints_business_id')),
    sa.PrimaryKeyConstraint('business_id', 'id', name=op.f('pk_webhook_endpoints')),
    sa.UniqueConstraint('business_id', 'idempotency_key', name=op.f('uq_webhook_endpoints_business_id_idempotency_key'))
    )
    op.create_index('ix_webhook_endpoints_due', 'webhook_endpoints', ['due_at'], unique=False)
    op.create_table('webhook_deliveries',
    sa.Column('business_id', sa.String(), nullable=False),
    sa.Column('id', sa.String(), nullable=False),
    sa.Column('endpoint_id', sa.String(), nullable=False),
    sa.Column('event_id', sa.String(), nullable=False),
    sa.Column('message_id', sa.String(), nullable=False),
    sa.Column('type', sa.String(), nullable=False),
    sa.Column('noun_id', sa.String(), nullable=True),
    sa.Column('data', JSONType, nullable=False),
    sa.Column('event_at', UTCDateTime(), nullable=False),
    sa.Column('state', sa.String(), nullable=False),
    sa.Column('due_at', UTCDateTime(), nullable=True),
    sa.Column('tries', sa.BigInteger(), nullable=False),
    sa.Column('attempts', sa.BigInteger(), nullable=False),
    sa.Column('last_status', sa.BigInteger(), nullable=True),
    sa.Column('delivered_at', UTCDateTime(), nullable=True),
    sa.Column('created_at', UTCDateTime(), nullable=False),
    sa.ForeignKeyConstraint(['business_id', 'endpoint_id'], ['webhook_endpoints.business_id', 'webhook_endpoints.id'], name=op.f('fk_webhook_deliveries_business_id_endpoint_id')),
    sa.ForeignKeyConstraint(['business_id'], ['businesses.business_id'], name=op.f('fk_webhook_deliveries_business_id')),
    sa.PrimaryKeyConstraint('business_id', 'id', name=op.f('pk_webhook_deliveries')),
    sa.UniqueConstraint('business_id', 'endpoint_id', 'event_id', 'type', name=op.f('uq_webhook_deliveries_business_id_endpoint_id_event_id_type'))
    )
    op.create_index('ix_webhook_deliveries_due', 'webhook_deliveries', ['business_id', 'endpoint_id', 'state', 'due_at', 'id'], unique=False)
    op.create_index('ix_webhook_deliveries_listed', 'webhook_deliveries', ['business_id', 'created_at', 'id'], unique=False)
    op.create_index('ix_webhook_deliveries_swept', 'webhook_deliveries', ['created_at'], unique=False)
    op.create_table('webhook_attempts',
    sa.Column('business_id', sa.String(), nullable=False),
    sa.Column('id', sa.String(), nullable=False),
    sa.Column('delivery_id', sa.String(), nullable=False),
    sa.Column('number', sa.BigInteger(), nullable=False),
    sa.Column('at', UTCDateTime(), nullable=False),
    sa.Column('status', sa.BigInteger(), nullable=True),
    sa.Column('error', sa.String(), nullable=True),
    sa.Column('duration_ms', sa.BigInteger(), nullable=False),
    sa.Column('request', sa.Text(), nullable=False),
    sa.Column('response', sa.Text(), nullable=False),
    sa.ForeignKeyConstraint(['business_id', 'delivery_id'], ['webhook_deliveries.business_id', 'webhook_deliveries.id'], name=op.f('fk_webhook_attempts_business_id_delivery_id')),
    sa.ForeignKeyConstraint(['business_id'], ['businesses.business_id'], name=op.f('fk_webhook_attempts_business_id')),
    sa.PrimaryKeyConstraint('business_id', 'id', name=op.f('pk_webhook_attempts'))
    )
    op.create_index('ix_webhook_attempts_delivery', 'webhook_attempts', ['business_id', 'delivery_id', 'number'], unique=False)
    _row_level_security()


def _row_level_security() -> None:
    connection = op.get_bind()
    if connection.dialect.name != "postgresql":
        return
    kinds = tables_by_kind()
    for table in TABLES:
        for statement in statements(table, kinds[table]):
            connection.exec_driver_sql(statement)
