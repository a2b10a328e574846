"""Add the OpenID provider (apps, consents, app sessions, tokens, signing keys) and custom domains."""

import sqlalchemy as sa
from alembic import op

from core.models import JSONType, UTCDateTime
from core.rls import statements
from migrations.former_names import tables_by_kind

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

TABLES = ("signing_keys", "apps", "app_subjects", "app_consents", "app_sessions", "app_tokens", "domains", "domain_codes",
          "domain_sessions")


def upgrade() -> None:
    op.create_table('signing_keys',
    sa.Column('id', sa.String(), nullable=False),
    sa.Column('public', JSONType, nullable=False),
    sa.Column('sealed', sa.String(), nullable=False),
    sa.Column('created_at', UTCDateTime(), nullable=False),
    sa.Column('signs_from', UTCDateTime(), nullable=True),
    sa.Column('signs_until', UTCDateTime(), nullable=True),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_signing_keys'))
    )
    op.create_table('apps',
    sa.Column('business_id', sa.String(), nullable=False),
    sa.Column('id', sa.String(), nullable=False),
    sa.Column('name', sa.String(), nullable=False),
    sa.Column('secret_hash', sa.String(), nullable=True),
    sa.Column('redirect_uris', JSONType, nullable=False),
    sa.Column('post_logout_uris', JSONType, nullable=False),
    sa.Column('backchannel_uri', sa.String(), nullable=True),
    sa.Column('created_at', UTCDateTime(), nullable=False),
    sa.Column('removed_at', UTCDateTime(), nullable=True),
    sa.ForeignKeyConstraint(['business_id'], ['businesses.business_id'], name=op.f('fk_apps_business_id')),
    sa.PrimaryKeyConstraint('business_id', 'id', name=op.f('pk_apps'))
    )
    op.create_index('ix_apps_id', 'apps', ['id'], unique=False)
    op.create_table('app_subjects',
    sa.Column('business_id', sa.String(), nullable=False),
    sa.Column('id', sa.String(), nullable=False),
    sa.Column('customer_id', sa.String(), nullable=False),
    sa.Column('created_at', UTCDateTime(), nullable=False),
    sa.ForeignKeyConstraint(['business_id', 'customer_id'], ['customers.business_id', 'customers.customer_id'], name=op.f('fk_app_subjects_business_id_customer_id')),
    sa.ForeignKeyConstraint(['business_id'], ['businesses.business_id'], name=op.f('fk_app_subjects_business_id')),
    sa.PrimaryKeyConstraint('business_id', 'id', name=op.f('pk_app_subjects')),
    sa.UniqueConstraint('business_id', 'customer_id', name=op.f('uq_app_subjects_business_id_customer_id'))
    )
    op.create_table('app_consents',
    sa.Column('business_id', sa.String(), nullable=False),
    sa.Column('id', sa.String(), nullable=False),
    sa.Column('customer_id', sa.String(), nullable=False),
    sa.Column('app_id', sa.String(), nullable=False),
    sa.Column('app_name', sa.String(), nullable=False),
    sa.Column('scopes', JSONType, nullable=False),
    sa.Column('given_at', UTCDateTime(), nullable=False),
    sa.Column('revoked_at', UTCDateTime(), nullable=True),
    sa.ForeignKeyConstraint(['business_id', 'app_id'], ['apps.business_id', 'apps.id'], name=op.f('fk_app_consents_business_id_app_id')),
    sa.ForeignKeyConstraint(['business_id', 'customer_id'], ['customers.business_id', 'customers.customer_id'], name=op.f('fk_app_consents_business_id_customer_id')),
    sa.ForeignKeyConstraint(['business_id'], ['businesses.business_id'], name=op.f('fk_app_consents_business_id')),
    sa.PrimaryKeyConstraint('business_id', 'id', name=op.f('pk_app_consents')),
    sa.UniqueConstraint('business_id', 'customer_id', 'app_id', name=op.f('uq_app_consents_business_id_customer_id_app_id'))
    )
    op.create_table('app_sessions',
    sa.Column('business_id', sa.String(), nullable=False),
    sa.Column('id', sa.String(), nullable=False),
    sa.Column('customer_id', sa.String(), nullable=False),
    sa.Column('app_id', sa.String(), nullable=False),
    sa.Column('identity_id', sa.String(), nullable=True),
    sa.Column('grant_id', sa.String(), nullable=False),
    sa.Column('subject', sa.String(), nullable=False),
    sa.Column('scope', sa.String(), nullable=False),
    sa.Column('is_offline', sa.Boolean(), nullable=False),
    sa.Column('auth_time', UTCDateTime(), nullable=False),
    sa.Column('redirect_uri', sa.String(), nullable=False),
    sa.Column('challenge', sa.String(), nullable=False),
    sa.Column('nonce', sa.String(), nullable=True),
    sa.Column('code_hash', sa.String(), nullable=False),
    sa.Column('code_expires_at', UTCDateTime(), nullable=False),
    sa.Column('code_used_at', UTCDateTime(), nullable=True),
    sa.Column('created_at', UTCDateTime(), nullable=False),
    sa.Column('expires_at', UTCDateTime(), nullable=False),
    sa.Column('ended_at', UTCDateTime(), nullable=True),
    sa.Column('left_at', UTCDateTime(), nullable=True),
    sa.ForeignKeyConstraint(['business_id', 'app_id'], ['apps.business_id', 'apps.id'], name=op.f('fk_app_sessions_business_id_app_id')),
    sa.ForeignKeyConstraint(['business_id', 'customer_id'], ['customers.business_id', 'customers.customer_id'], name=op.f('fk_app_sessions_business_id_customer_id')),
    sa.ForeignKeyConstraint(['business_id'], ['businesses.business_id'], name=op.f('fk_app_sessions_business_id')),
    sa.PrimaryKeyConstraint('business_id', 'id', name=op.f('pk_app_sessions')),
    sa.UniqueConstraint('business_id', 'customer_id', 'id', name=op.f('uq_app_sessions_business_id_customer_id_id'))
    )
    op.create_index('ix_app_sessions_code', 'app_sessions', ['code_hash'], unique=False)
    op.create_index('ix_app_sessions_left', 'app_sessions', ['left_at', 'expires_at'], unique=False)
    op.create_table('app_tokens',
    sa.Column('business_id', sa.String(), nullable=False),
    sa.Column('id', sa.String(), nullable=False),
    sa.Column('customer_id', sa.String(), nullable=False),
    sa.Column('app_session_id', sa.String(), nullable=False),
    sa.Column('kind', sa.String(), nullable=False),
    sa.Column('scope', sa.String(), nullable=False),
    sa.Column('created_at', UTCDateTime(), nullable=False),
    sa.Column('expires_at', UTCDateTime(), nullable=False),
    sa.Column('used_at', UTCDateTime(), nullable=True),
    sa.ForeignKeyConstraint(['business_id', 'customer_id', 'app_session_id'], ['app_sessions.business_id', 'app_sessions.customer_id', 'app_sessions.id'], name=op.f('fk_app_tokens_business_id_customer_id_app_session_id')),
    sa.ForeignKeyConstraint(['business_id', 'customer_id'], ['customers.business_id', 'customers.customer_id'], name=op.f('fk_app_tokens_business_id_customer_id')),
    sa.ForeignKeyConstraint(['business_id'], ['businesses.business_id'], name=op.f('fk_app_tokens_business_id')),
    sa.PrimaryKeyConstraint('business_id', 'id', name=op.f('pk_app_tokens'))
    )
    op.create_index('ix_app_tokens_expires', 'app_tokens', ['expires_at'], unique=False)
    op.create_index('ix_app_tokens_id', 'app_tokens', ['id'], unique=False)
    op.create_table('domains',
    sa.Column('business_id', sa.String(), nullable=False),
    sa.Column('id', sa.String(), nullable=False),
    sa.Column('host', sa.String(), nullable=False),
    sa.Column('token', sa.String(), nullable=False),
    sa.Column('created_at', UTCDateTime(), nullable=False),
    sa.Column('verified_at', UTCDateTime(), nullable=True),
    sa.Column('checked_at', UTCDateTime(), nullable=True),
    sa.Column('removed_at', UTCDateTime(), nullable=True),
    sa.ForeignKeyConstraint(['business_id'], ['businesses.business_id'], name=op.f('fk_domains_business_id')),
    sa.PrimaryKeyConstraint('business_id', 'id', name=op.f('pk_domains'))
    )
    op.create_index('ix_domains_host', 'domains', ['host'], unique=False)
    op.create_table('domain_codes',
    sa.Column('id', sa.String(), nullable=False),
    sa.Column('domain_id', sa.String(), nullable=False),
    sa.Column('business_id', sa.String(), nullable=False),
    sa.Column('grant_id', sa.String(), nullable=False),
    sa.Column('state', sa.String(), nullable=False),
    sa.Column('next', sa.String(), nullable=False),
    sa.Column('expires_at', UTCDateTime(), nullable=False),
    sa.Column('used_at', UTCDateTime(), nullable=True),
    sa.ForeignKeyConstraint(['business_id'], ['businesses.business_id'], name=op.f('fk_domain_codes_business_id')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_domain_codes'))
    )
    op.create_table('domain_sessions',
    sa.Column('id', sa.String(), nullable=False),
    sa.Column('domain_id', sa.String(), nullable=False),
    sa.Column('business_id', sa.String(), nullable=False),
    sa.Column('grant_id', sa.String(), nullable=False),
    sa.Column('created_at', UTCDateTime(), nullable=False),
    sa.Column('expires_at', UTCDateTime(), nullable=False),
    sa.ForeignKeyConstraint(['business_id'], ['businesses.business_id'], name=op.f('fk_domain_sessions_business_id')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_domain_sessions'))
    )
    op.create_index('ix_domain_sessions_domain', 'domain_sessions', ['domain_id'], unique=False)
    _row_level_security()


def _row_level_security() -> None:
    connection = op.get_bind()
    if connection.dialect.name != "postgresql":
        return
    kinds = tables_by_kind()
    for table in TABLES:
        for statement in statements(table, kinds[table]):
            connection.exec_driver_sql(statement)
