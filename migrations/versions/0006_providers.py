"""Add sign-in with providers: connections, logins, states and logout tokens. Record what proved each grant."""

import sqlalchemy as sa
from alembic import op

from core.models import JSONType, UTCDateTime
from core.rls import statements
from migrations.former_names import tables_by_kind

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

TABLES = ("connection_logins", "connections", "provider_logins")


def upgrade() -> None:
    op.create_table('connections',
    sa.Column('business_id', sa.String(), nullable=False),
    sa.Column('id', sa.String(), nullable=False),
    sa.Column('issuer', sa.String(), nullable=False),
    sa.Column('client_id', sa.String(), nullable=False),
    sa.Column('client_secret', sa.String(), nullable=False),
    sa.Column('label', sa.String(), nullable=False),
    sa.Column('claim', sa.String(), nullable=False),
    sa.Column('is_enabled', sa.Boolean(), nullable=False),
    sa.Column('tested_at', UTCDateTime(), nullable=True),
    sa.Column('created_at', UTCDateTime(), nullable=False),
    sa.Column('removed_at', UTCDateTime(), nullable=True),
    sa.ForeignKeyConstraint(['business_id'], ['businesses.business_id'], name=op.f('fk_connections_business_id')),
    sa.PrimaryKeyConstraint('business_id', 'id', name=op.f('pk_connections'))
    )
    op.create_table('connection_logins',
    sa.Column('business_id', sa.String(), nullable=False),
    sa.Column('id', sa.String(), nullable=False),
    sa.Column('customer_id', sa.String(), nullable=False),
    sa.Column('connection_id', sa.String(), nullable=False),
    sa.Column('created_at', UTCDateTime(), nullable=False),
    sa.Column('last_used_at', UTCDateTime(), nullable=False),
    sa.ForeignKeyConstraint(['business_id', 'connection_id'], ['connections.business_id', 'connections.id'], name=op.f('fk_connection_logins_business_id_connection_id')),
    sa.ForeignKeyConstraint(['business_id', 'customer_id'], ['customers.business_id', 'customers.customer_id'], name=op.f('fk_connection_logins_business_id_customer_id')),
    sa.ForeignKeyConstraint(['business_id'], ['businesses.business_id'], name=op.f('fk_connection_logins_business_id')),
    sa.PrimaryKeyConstraint('business_id', 'id', name=op.f('pk_connection_logins'))
    )
    op.create_table('provider_logins',
    sa.Column('identity_id', sa.String(), nullable=False),
    sa.Column('id', sa.String(), nullable=False),
    sa.Column('provider', sa.String(), nullable=False),
    sa.Column('issuer', sa.String(), nullable=False),
    sa.Column('subject', sa.String(), nullable=False),
    sa.Column('label', sa.String(), nullable=False),
    sa.Column('address_key', sa.String(), nullable=True),
    sa.Column('created_at', UTCDateTime(), nullable=False),
    sa.Column('last_used_at', UTCDateTime(), nullable=False),
    sa.ForeignKeyConstraint(['identity_id'], ['identities.identity_id'], name=op.f('fk_provider_logins_identity_id')),
    sa.PrimaryKeyConstraint('identity_id', 'id', name=op.f('pk_provider_logins'))
    )
    op.create_index('ix_provider_logins_id', 'provider_logins', ['id'], unique=False)
    op.create_table('provider_states',
    sa.Column('id', sa.String(), nullable=False),
    sa.Column('state_hash', sa.String(), nullable=False),
    sa.Column('browser_hash', sa.String(), nullable=False),
    sa.Column('party', sa.String(), nullable=False),
    sa.Column('purpose', sa.String(), nullable=False),
    sa.Column('identity_id', sa.String(), nullable=True),
    sa.Column('next', sa.String(), nullable=False),
    sa.Column('expires_at', UTCDateTime(), nullable=False),
    sa.Column('used_at', UTCDateTime(), nullable=True),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_provider_states')),
    sa.UniqueConstraint('state_hash', name=op.f('uq_provider_states_state_hash'))
    )
    op.create_index('ix_provider_states_expires', 'provider_states', ['expires_at'], unique=False)
    op.create_table('logout_tokens',
    sa.Column('id', sa.String(), nullable=False),
    sa.Column('seen_at', UTCDateTime(), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_logout_tokens'))
    )
    op.add_column('session_grants', sa.Column('party', sa.String(), nullable=True))
    op.add_column('session_grants', sa.Column('party_session', sa.String(), nullable=True))
    op.add_column('session_grants', sa.Column('party_subject', sa.String(), nullable=True))
    op.create_index('ix_session_grants_party', 'session_grants', ['party'], unique=False)
    op.add_column('challenges', sa.Column('joins', JSONType, nullable=True))
    _row_level_security()


def _row_level_security() -> None:
    connection = op.get_bind()
    if connection.dialect.name != "postgresql":
        return
    kinds = tables_by_kind()
    for table in TABLES:
        for statement in statements(table, kinds[table]):
            connection.exec_driver_sql(statement)
