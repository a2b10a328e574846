"""Create the first tables, and row-level security on PostgreSQL."""

import sqlalchemy as sa
from alembic import op

from core.models import JSONType, UTCDateTime
from core.rls import statements
from migrations.former_names import tables_by_kind

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


TABLES = frozenset("""
    addons api_keys api_repeats browser_sessions budgets businesses challenges collection_items
    collections corrections customer_totals customers documents dynamic_links events gateway_notifications
    identities identity_emails invoice_lines invoices leases license_instances license_keys mailbox
    never_again number_series outbox payment_methods payments products quotes refunds
    reminders scheduled_changes session_grants spend_months subscriptions
""".split())
"""What this revision made; later revisions secure their own."""


def upgrade() -> None:
    op.create_table('budgets',
    sa.Column('key', sa.String(), nullable=False),
    sa.Column('window_start', UTCDateTime(), nullable=False),
    sa.Column('count', sa.BigInteger(), nullable=False),
    sa.PrimaryKeyConstraint('key', name=op.f('pk_budgets'))
    )
    op.create_table('businesses',
    sa.Column('business_id', sa.String(), nullable=False),
    sa.Column('name', sa.String(), nullable=False),
    sa.Column('legal_name', sa.String(), nullable=False),
    sa.Column('address', JSONType, nullable=False),
    sa.Column('tax_id', sa.String(), nullable=True),
    sa.Column('support_email', sa.String(), nullable=False),
    sa.Column('currency', sa.String(), nullable=False),
    sa.Column('zone', sa.String(), nullable=False),
    sa.Column('locale', sa.String(), nullable=False),
    sa.Column('brand', JSONType, nullable=False),
    sa.Column('settings', JSONType, nullable=False),
    sa.Column('tax_rates', JSONType, nullable=False),
    sa.Column('invoice_prefix', sa.String(), nullable=False),
    sa.Column('archived_at', UTCDateTime(), nullable=True),
    sa.Column('created_at', UTCDateTime(), nullable=False),
    sa.PrimaryKeyConstraint('business_id', name=op.f('pk_businesses'))
    )
    op.create_table('challenges',
    sa.Column('id', sa.String(), nullable=False),
    sa.Column('purpose', sa.String(), nullable=False),
    sa.Column('browser_hash', sa.String(), nullable=False),
    sa.Column('identity_id', sa.String(), nullable=True),
    sa.Column('address_key', sa.String(), nullable=False),
    sa.Column('email', sa.String(), nullable=False),
    sa.Column('door', sa.String(), nullable=False),
    sa.Column('business_id', sa.String(), nullable=True),
    sa.Column('link_hash', sa.String(), nullable=False),
    sa.Column('code_hash', sa.String(), nullable=False),
    sa.Column('tries', sa.BigInteger(), nullable=False),
    sa.Column('device', sa.String(), nullable=False),
    sa.Column('locale', sa.String(), nullable=False),
    sa.Column('next', sa.String(), nullable=False),
    sa.Column('created_at', UTCDateTime(), nullable=False),
    sa.Column('expires_at', UTCDateTime(), nullable=False),
    sa.Column('used_at', UTCDateTime(), nullable=True),
    sa.Column('revoked_at', UTCDateTime(), nullable=True),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_challenges')),
    sa.UniqueConstraint('link_hash', name=op.f('uq_challenges_link_hash'))
    )
    op.create_index('ix_challenges_address', 'challenges', ['address_key', 'expires_at'], unique=False)
    op.create_index('ix_challenges_browser', 'challenges', ['browser_hash', 'created_at'], unique=False)
    op.create_table('deployment',
    sa.Column('id', sa.String(), nullable=False),
    sa.Column('mode', sa.String(), nullable=False),
    sa.Column('created_at', UTCDateTime(), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_deployment'))
    )
    op.create_table('gateway_notifications',
    sa.Column('id', sa.String(), nullable=False),
    sa.Column('key', sa.String(), nullable=False),
    sa.Column('kind', sa.String(), nullable=False),
    sa.Column('received_at', UTCDateTime(), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_gateway_notifications'))
    )
    op.create_table('identities',
    sa.Column('identity_id', sa.String(), nullable=False),
    sa.Column('name', sa.String(), nullable=False),
    sa.Column('locale', sa.String(), nullable=True),
    sa.Column('zone', sa.String(), nullable=True),
    sa.Column('created_at', UTCDateTime(), nullable=False),
    sa.PrimaryKeyConstraint('identity_id', name=op.f('pk_identities'))
    )
    op.create_table('leases',
    sa.Column('name', sa.String(), nullable=False),
    sa.Column('holder', sa.String(), nullable=False),
    sa.Column('until', UTCDateTime(), nullable=False),
    sa.PrimaryKeyConstraint('name', name=op.f('pk_leases'))
    )
    op.create_table('mailbox',
    sa.Column('id', sa.String(), nullable=False),
    sa.Column('to', sa.String(), nullable=False),
    sa.Column('subject', sa.String(), nullable=False),
    sa.Column('text', sa.Text(), nullable=False),
    sa.Column('html', sa.Text(), nullable=False),
    sa.Column('attachments', JSONType, nullable=False),
    sa.Column('created_at', UTCDateTime(), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_mailbox'))
    )
    op.create_index(op.f('ix_mailbox_created_at'), 'mailbox', ['created_at'], unique=False)
    op.create_index(op.f('ix_mailbox_to'), 'mailbox', ['to'], unique=False)
    op.create_table('never_again',
    sa.Column('address_hash', sa.String(), nullable=False),
    sa.Column('created_at', UTCDateTime(), nullable=False),
    sa.PrimaryKeyConstraint('address_hash', name=op.f('pk_never_again'))
    )
    op.create_table('outbox',
    sa.Column('id', sa.String(), nullable=False),
    sa.Column('type', sa.String(), nullable=False),
    sa.Column('business_id', sa.String(), nullable=True),
    sa.Column('customer_id', sa.String(), nullable=True),
    sa.Column('noun_id', sa.String(), nullable=True),
    sa.Column('actor_type', sa.String(), nullable=False),
    sa.Column('actor_id', sa.String(), nullable=True),
    sa.Column('data', JSONType, nullable=False),
    sa.Column('at', UTCDateTime(), nullable=False),
    sa.Column('state', sa.String(), nullable=False),
    sa.Column('due_at', UTCDateTime(), nullable=False),
    sa.Column('attempts', sa.BigInteger(), nullable=False),
    sa.Column('fence', sa.BigInteger(), nullable=False),
    sa.Column('done', JSONType, nullable=False),
    sa.Column('error', sa.String(), nullable=True),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_outbox'))
    )
    op.create_index('ix_outbox_due', 'outbox', ['state', 'due_at', 'id'], unique=False)
    op.create_table('addons',
    sa.Column('business_id', sa.String(), nullable=False),
    sa.Column('id', sa.String(), nullable=False),
    sa.Column('name', sa.String(), nullable=False),
    sa.Column('description', sa.String(), nullable=False),
    sa.Column('currency', sa.String(), nullable=False),
    sa.Column('price_minor', sa.BigInteger(), nullable=False),
    sa.Column('tax_category', sa.String(), nullable=False),
    sa.Column('archived_at', UTCDateTime(), nullable=True),
    sa.Column('created_at', UTCDateTime(), nullable=False),
    sa.Column('updated_at', UTCDateTime(), nullable=False),
    sa.ForeignKeyConstraint(['business_id'], ['businesses.business_id'], name=op.f('fk_addons_business_id')),
    sa.PrimaryKeyConstraint('business_id', 'id', name=op.f('pk_addons'))
    )
    op.create_table('api_keys',
    sa.Column('business_id', sa.String(), nullable=False),
    sa.Column('id', sa.String(), nullable=False),
    sa.Column('name', sa.String(), nullable=False),
    sa.Column('prefix', sa.String(), nullable=False),
    sa.Column('secret_hash', sa.String(), nullable=False),
    sa.Column('read_only', sa.Boolean(), nullable=False),
    sa.Column('created_at', UTCDateTime(), nullable=False),
    sa.Column('last_used_at', UTCDateTime(), nullable=True),
    sa.Column('revoked_at', UTCDateTime(), nullable=True),
    sa.ForeignKeyConstraint(['business_id'], ['businesses.business_id'], name=op.f('fk_api_keys_business_id')),
    sa.PrimaryKeyConstraint('business_id', 'id', name=op.f('pk_api_keys'))
    )
    op.create_index('ix_api_keys_secret', 'api_keys', ['secret_hash'], unique=False)
    op.create_table('api_repeats',
    sa.Column('business_id', sa.String(), nullable=False),
    sa.Column('id', sa.String(), nullable=False),
    sa.Column('request', sa.String(), nullable=False),
    sa.Column('status', sa.BigInteger(), nullable=True),
    sa.Column('body', JSONType, nullable=True),
    sa.Column('created_at', UTCDateTime(), nullable=False),
    sa.ForeignKeyConstraint(['business_id'], ['businesses.business_id'], name=op.f('fk_api_repeats_business_id')),
    sa.PrimaryKeyConstraint('business_id', 'id', name=op.f('pk_api_repeats'))
    )
    op.create_index('ix_api_repeats_request', 'api_repeats', ['business_id', 'request', 'created_at'], unique=False)
    op.create_table('browser_sessions',
    sa.Column('id', sa.String(), nullable=False),
    sa.Column('secret_hash', sa.String(), nullable=False),
    sa.Column('identity_id', sa.String(), nullable=True),
    sa.Column('device', sa.String(), nullable=False),
    sa.Column('created_at', UTCDateTime(), nullable=False),
    sa.Column('last_seen_at', UTCDateTime(), nullable=False),
    sa.Column('expires_at', UTCDateTime(), nullable=False),
    sa.Column('revoked_at', UTCDateTime(), nullable=True),
    sa.Column('proved_at', UTCDateTime(), nullable=True),
    sa.Column('proof', sa.String(), nullable=True),
    sa.ForeignKeyConstraint(['identity_id'], ['identities.identity_id'], name=op.f('fk_browser_sessions_identity_id')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_browser_sessions')),
    sa.UniqueConstraint('secret_hash', name=op.f('uq_browser_sessions_secret_hash'))
    )
    op.create_index(op.f('ix_browser_sessions_identity_id'), 'browser_sessions', ['identity_id'], unique=False)
    op.create_table('collections',
    sa.Column('business_id', sa.String(), nullable=False),
    sa.Column('id', sa.String(), nullable=False),
    sa.Column('brand_id', sa.String(), nullable=False),
    sa.Column('name', sa.String(), nullable=False),
    sa.Column('description', sa.String(), nullable=False),
    sa.Column('effective_on_upgrade', sa.String(), nullable=True),
    sa.Column('effective_on_downgrade', sa.String(), nullable=True),
    sa.Column('proration_on_upgrade', sa.String(), nullable=True),
    sa.Column('proration_on_downgrade', sa.String(), nullable=True),
    sa.Column('on_payment_failure', sa.String(), nullable=True),
    sa.Column('archived_at', UTCDateTime(), nullable=True),
    sa.Column('created_at', UTCDateTime(), nullable=False),
    sa.Column('updated_at', UTCDateTime(), nullable=False),
    sa.ForeignKeyConstraint(['business_id'], ['businesses.business_id'], name=op.f('fk_collections_business_id')),
    sa.PrimaryKeyConstraint('business_id', 'id', name=op.f('pk_collections'))
    )
    op.create_table('customers',
    sa.Column('business_id', sa.String(), nullable=False),
    sa.Column('customer_id', sa.String(), nullable=False),
    sa.Column('email', sa.String(), nullable=False),
    sa.Column('email_key', sa.String(), nullable=False),
    sa.Column('name', sa.String(), nullable=False),
    sa.Column('phone', sa.String(), nullable=True),
    sa.Column('locale', sa.String(), nullable=True),
    sa.Column('billing', JSONType, nullable=False),
    sa.Column('tax_id', sa.String(), nullable=True),
    sa.Column('business_name', sa.String(), nullable=True),
    sa.Column('meta', JSONType, nullable=False),
    sa.Column('first_paid_at', UTCDateTime(), nullable=True),
    sa.Column('accepted_at', UTCDateTime(), nullable=True),
    sa.Column('declined_at', UTCDateTime(), nullable=True),
    sa.Column('blocked_at', UTCDateTime(), nullable=True),
    sa.Column('created_at', UTCDateTime(), nullable=False),
    sa.ForeignKeyConstraint(['business_id'], ['businesses.business_id'], name=op.f('fk_customers_business_id')),
    sa.PrimaryKeyConstraint('business_id', 'customer_id', name=op.f('pk_customers'))
    )
    op.create_index('ix_customers_created', 'customers', ['business_id', 'created_at', 'customer_id'], unique=False)
    op.create_index('ix_customers_email_key', 'customers', ['email_key', 'business_id'], unique=False)
    op.create_table('events',
    sa.Column('business_id', sa.String(), nullable=False),
    sa.Column('id', sa.String(), nullable=False),
    sa.Column('customer_id', sa.String(), nullable=False),
    sa.Column('type', sa.String(), nullable=False),
    sa.Column('noun_id', sa.String(), nullable=True),
    sa.Column('actor_type', sa.String(), nullable=False),
    sa.Column('actor_id', sa.String(), nullable=True),
    sa.Column('data', JSONType, nullable=False),
    sa.Column('at', UTCDateTime(), nullable=False),
    sa.ForeignKeyConstraint(['business_id'], ['businesses.business_id'], name=op.f('fk_events_business_id')),
    sa.PrimaryKeyConstraint('business_id', 'id', name=op.f('pk_events'))
    )
    op.create_index('ix_events_customer', 'events', ['business_id', 'customer_id', 'at', 'id'], unique=False)
    op.create_index('ix_events_noun', 'events', ['business_id', 'noun_id', 'at', 'id'], unique=False)
    op.create_table('identity_emails',
    sa.Column('identity_id', sa.String(), nullable=False),
    sa.Column('id', sa.String(), nullable=False),
    sa.Column('email', sa.String(), nullable=False),
    sa.Column('email_key', sa.String(), nullable=False),
    sa.Column('is_primary', sa.Boolean(), nullable=False),
    sa.Column('verified_at', UTCDateTime(), nullable=False),
    sa.ForeignKeyConstraint(['identity_id'], ['identities.identity_id'], name=op.f('fk_identity_emails_identity_id')),
    sa.PrimaryKeyConstraint('identity_id', 'id', name=op.f('pk_identity_emails')),
    sa.UniqueConstraint('email_key', name=op.f('uq_identity_emails_email_key'))
    )
    op.create_table('number_series',
    sa.Column('business_id', sa.String(), nullable=False),
    sa.Column('id', sa.String(), nullable=False),
    sa.Column('next', sa.BigInteger(), nullable=False),
    sa.ForeignKeyConstraint(['business_id'], ['businesses.business_id'], name=op.f('fk_number_series_business_id')),
    sa.PrimaryKeyConstraint('business_id', 'id', name=op.f('pk_number_series'))
    )
    op.create_table('products',
    sa.Column('business_id', sa.String(), nullable=False),
    sa.Column('id', sa.String(), nullable=False),
    sa.Column('brand_id', sa.String(), nullable=False),
    sa.Column('name', sa.String(), nullable=False),
    sa.Column('description', sa.String(), nullable=False),
    sa.Column('price_type', sa.String(), nullable=False),
    sa.Column('currency', sa.String(), nullable=False),
    sa.Column('price_minor', sa.BigInteger(), nullable=False),
    sa.Column('tax_inclusive', sa.Boolean(), nullable=False),
    sa.Column('tax_category', sa.String(), nullable=False),
    sa.Column('interval', sa.String(), nullable=True),
    sa.Column('interval_count', sa.BigInteger(), nullable=False),
    sa.Column('term_interval', sa.String(), nullable=True),
    sa.Column('term_count', sa.BigInteger(), nullable=False),
    sa.Column('trial_days', sa.BigInteger(), nullable=False),
    sa.Column('meters', JSONType, nullable=False),
    sa.Column('addons', JSONType, nullable=False),
    sa.Column('license_key_enabled', sa.Boolean(), nullable=False),
    sa.Column('license_key_limit', sa.BigInteger(), nullable=True),
    sa.Column('license_key_duration', JSONType, nullable=True),
    sa.Column('license_key_message', sa.String(), nullable=True),
    sa.Column('download', JSONType, nullable=True),
    sa.Column('image', sa.String(), nullable=True),
    sa.Column('meta', JSONType, nullable=False),
    sa.Column('archived_at', UTCDateTime(), nullable=True),
    sa.Column('created_at', UTCDateTime(), nullable=False),
    sa.Column('updated_at', UTCDateTime(), nullable=False),
    sa.ForeignKeyConstraint(['business_id'], ['businesses.business_id'], name=op.f('fk_products_business_id')),
    sa.PrimaryKeyConstraint('business_id', 'id', name=op.f('pk_products'))
    )
    op.create_index('ix_products_created', 'products', ['business_id', 'created_at', 'id'], unique=False)
    op.create_table('collection_items',
    sa.Column('business_id', sa.String(), nullable=False),
    sa.Column('id', sa.String(), nullable=False),
    sa.Column('collection_id', sa.String(), nullable=False),
    sa.Column('product_id', sa.String(), nullable=False),
    sa.Column('group_id', sa.String(), nullable=False),
    sa.Column('group_name', sa.String(), nullable=True),
    sa.Column('position', sa.BigInteger(), nullable=False),
    sa.Column('enabled', sa.Boolean(), nullable=False),
    sa.ForeignKeyConstraint(['business_id', 'collection_id'], ['collections.business_id', 'collections.id'], name=op.f('fk_collection_items_business_id_collection_id')),
    sa.ForeignKeyConstraint(['business_id', 'product_id'], ['products.business_id', 'products.id'], name=op.f('fk_collection_items_business_id_product_id')),
    sa.ForeignKeyConstraint(['business_id'], ['businesses.business_id'], name=op.f('fk_collection_items_business_id')),
    sa.PrimaryKeyConstraint('business_id', 'id', name=op.f('pk_collection_items'))
    )
    op.create_index('uq_collection_items_product', 'collection_items', ['business_id', 'product_id'], unique=True)
    op.create_table('customer_totals',
    sa.Column('business_id', sa.String(), nullable=False),
    sa.Column('id', sa.String(), nullable=False),
    sa.Column('customer_id', sa.String(), nullable=False),
    sa.Column('currency', sa.String(), nullable=False),
    sa.Column('paid_minor', sa.BigInteger(), nullable=False),
    sa.Column('refunded_minor', sa.BigInteger(), nullable=False),
    sa.ForeignKeyConstraint(['business_id', 'customer_id'], ['customers.business_id', 'customers.customer_id'], name=op.f('fk_customer_totals_business_id_customer_id')),
    sa.ForeignKeyConstraint(['business_id'], ['businesses.business_id'], name=op.f('fk_customer_totals_business_id')),
    sa.PrimaryKeyConstraint('business_id', 'id', name=op.f('pk_customer_totals'))
    )
    op.create_table('documents',
    sa.Column('business_id', sa.String(), nullable=False),
    sa.Column('id', sa.String(), nullable=False),
    sa.Column('customer_id', sa.String(), nullable=False),
    sa.Column('noun_id', sa.String(), nullable=False),
    sa.Column('version', sa.BigInteger(), nullable=False),
    sa.Column('sha256', sa.String(), nullable=False),
    sa.Column('pdf', sa.LargeBinary(), nullable=False),
    sa.Column('created_at', UTCDateTime(), nullable=False),
    sa.ForeignKeyConstraint(['business_id', 'customer_id'], ['customers.business_id', 'customers.customer_id'], name=op.f('fk_documents_business_id_customer_id')),
    sa.ForeignKeyConstraint(['business_id'], ['businesses.business_id'], name=op.f('fk_documents_business_id')),
    sa.PrimaryKeyConstraint('business_id', 'id', name=op.f('pk_documents'))
    )
    op.create_table('dynamic_links',
    sa.Column('id', sa.String(), nullable=False),
    sa.Column('business_id', sa.String(), nullable=False),
    sa.Column('customer_id', sa.String(), nullable=False),
    sa.Column('token_hash', sa.String(), nullable=False),
    sa.Column('return_url', sa.String(), nullable=True),
    sa.Column('mailed', sa.Boolean(), nullable=False),
    sa.Column('created_by', sa.String(), nullable=False),
    sa.Column('created_at', UTCDateTime(), nullable=False),
    sa.Column('expires_at', UTCDateTime(), nullable=False),
    sa.Column('used_at', UTCDateTime(), nullable=True),
    sa.Column('revoked_at', UTCDateTime(), nullable=True),
    sa.ForeignKeyConstraint(['business_id', 'customer_id'], ['customers.business_id', 'customers.customer_id'], name=op.f('fk_dynamic_links_business_id_customer_id')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_dynamic_links')),
    sa.UniqueConstraint('token_hash', name=op.f('uq_dynamic_links_token_hash'))
    )
    op.create_index('ix_dynamic_links_customer', 'dynamic_links', ['business_id', 'customer_id', 'created_at'], unique=False)
    op.create_table('payment_methods',
    sa.Column('business_id', sa.String(), nullable=False),
    sa.Column('id', sa.String(), nullable=False),
    sa.Column('customer_id', sa.String(), nullable=False),
    sa.Column('reference', sa.String(), nullable=False),
    sa.Column('kind', sa.String(), nullable=False),
    sa.Column('brand', sa.String(), nullable=True),
    sa.Column('last4', sa.String(), nullable=True),
    sa.Column('expiry_month', sa.BigInteger(), nullable=True),
    sa.Column('expiry_year', sa.BigInteger(), nullable=True),
    sa.Column('holder', sa.String(), nullable=True),
    sa.Column('country', sa.String(), nullable=True),
    sa.Column('recurring', sa.Boolean(), nullable=False),
    sa.Column('is_default', sa.Boolean(), nullable=False),
    sa.Column('removed_at', UTCDateTime(), nullable=True),
    sa.Column('last_used_at', UTCDateTime(), nullable=True),
    sa.Column('created_at', UTCDateTime(), nullable=False),
    sa.ForeignKeyConstraint(['business_id', 'customer_id'], ['customers.business_id', 'customers.customer_id'], name=op.f('fk_payment_methods_business_id_customer_id')),
    sa.ForeignKeyConstraint(['business_id'], ['businesses.business_id'], name=op.f('fk_payment_methods_business_id')),
    sa.PrimaryKeyConstraint('business_id', 'id', name=op.f('pk_payment_methods')),
    sa.UniqueConstraint('business_id', 'customer_id', 'id', name=op.f('uq_payment_methods_business_id_customer_id_id')),
    sa.UniqueConstraint('business_id', 'reference', name=op.f('uq_payment_methods_business_id_reference'))
    )
    op.create_index('ix_payment_methods_customer', 'payment_methods', ['business_id', 'customer_id', 'created_at'], unique=False)
    op.create_table('reminders',
    sa.Column('business_id', sa.String(), nullable=False),
    sa.Column('id', sa.String(), nullable=False),
    sa.Column('customer_id', sa.String(), nullable=False),
    sa.Column('purpose', sa.String(), nullable=False),
    sa.Column('noun_id', sa.String(), nullable=False),
    sa.Column('for_at', UTCDateTime(), nullable=False),
    sa.Column('step', sa.BigInteger(), nullable=False),
    sa.Column('at', UTCDateTime(), nullable=False),
    sa.Column('closed_at', UTCDateTime(), nullable=True),
    sa.ForeignKeyConstraint(['business_id', 'customer_id'], ['customers.business_id', 'customers.customer_id'], name=op.f('fk_reminders_business_id_customer_id')),
    sa.ForeignKeyConstraint(['business_id'], ['businesses.business_id'], name=op.f('fk_reminders_business_id')),
    sa.PrimaryKeyConstraint('business_id', 'id', name=op.f('pk_reminders'))
    )
    op.create_index('ix_reminders_noun', 'reminders', ['business_id', 'noun_id', 'purpose', 'for_at'], unique=False)
    op.create_table('session_grants',
    sa.Column('id', sa.String(), nullable=False),
    sa.Column('session_id', sa.String(), nullable=False),
    sa.Column('door', sa.String(), nullable=False),
    sa.Column('business_id', sa.String(), nullable=True),
    sa.Column('customer_id', sa.String(), nullable=True),
    sa.Column('proof', sa.String(), nullable=False),
    sa.Column('address_key', sa.String(), nullable=True),
    sa.Column('link_id', sa.String(), nullable=True),
    sa.Column('return_url', sa.String(), nullable=True),
    sa.Column('proved_at', UTCDateTime(), nullable=False),
    sa.Column('expires_at', UTCDateTime(), nullable=False),
    sa.Column('revoked_at', UTCDateTime(), nullable=True),
    sa.ForeignKeyConstraint(['business_id', 'customer_id'], ['customers.business_id', 'customers.customer_id'], name=op.f('fk_session_grants_business_id_customer_id')),
    sa.ForeignKeyConstraint(['session_id'], ['browser_sessions.id'], name=op.f('fk_session_grants_session_id')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_session_grants'))
    )
    op.create_index(op.f('ix_session_grants_address_key'), 'session_grants', ['address_key'], unique=False)
    op.create_index(op.f('ix_session_grants_session_id'), 'session_grants', ['session_id'], unique=False)
    op.create_table('spend_months',
    sa.Column('business_id', sa.String(), nullable=False),
    sa.Column('id', sa.String(), nullable=False),
    sa.Column('customer_id', sa.String(), nullable=False),
    sa.Column('month', sa.String(), nullable=False),
    sa.Column('currency', sa.String(), nullable=False),
    sa.Column('paid_minor', sa.BigInteger(), nullable=False),
    sa.Column('refunded_minor', sa.BigInteger(), nullable=False),
    sa.ForeignKeyConstraint(['business_id', 'customer_id'], ['customers.business_id', 'customers.customer_id'], name=op.f('fk_spend_months_business_id_customer_id')),
    sa.ForeignKeyConstraint(['business_id'], ['businesses.business_id'], name=op.f('fk_spend_months_business_id')),
    sa.PrimaryKeyConstraint('business_id', 'id', name=op.f('pk_spend_months'))
    )
    op.create_index('ix_spend_months_customer', 'spend_months', ['business_id', 'customer_id', 'month'], unique=False)
    op.create_table('subscriptions',
    sa.Column('business_id', sa.String(), nullable=False),
    sa.Column('id', sa.String(), nullable=False),
    sa.Column('customer_id', sa.String(), nullable=False),
    sa.Column('product_id', sa.String(), nullable=False),
    sa.Column('brand_id', sa.String(), nullable=False),
    sa.Column('status', sa.String(), nullable=False),
    sa.Column('quantity', sa.BigInteger(), nullable=False),
    sa.Column('currency', sa.String(), nullable=False),
    sa.Column('unit_minor', sa.BigInteger(), nullable=False),
    sa.Column('tax_inclusive', sa.Boolean(), nullable=False),
    sa.Column('addons', JSONType, nullable=False),
    sa.Column('meters', JSONType, nullable=False),
    sa.Column('interval', sa.String(), nullable=False),
    sa.Column('interval_count', sa.BigInteger(), nullable=False),
    sa.Column('term_interval', sa.String(), nullable=False),
    sa.Column('term_count', sa.BigInteger(), nullable=False),
    sa.Column('zone', sa.String(), nullable=False),
    sa.Column('anchor_at', UTCDateTime(), nullable=True),
    sa.Column('anchor_n', sa.BigInteger(), nullable=False),
    sa.Column('period_n', sa.BigInteger(), nullable=False),
    sa.Column('previous_billing_at', UTCDateTime(), nullable=True),
    sa.Column('next_billing_at', UTCDateTime(), nullable=True),
    sa.Column('trial_days', sa.BigInteger(), nullable=False),
    sa.Column('trial_ends_at', UTCDateTime(), nullable=True),
    sa.Column('expires_at', UTCDateTime(), nullable=True),
    sa.Column('cancel_at_period_end', sa.Boolean(), nullable=False),
    sa.Column('cancelled_at', UTCDateTime(), nullable=True),
    sa.Column('cancelled_by', JSONType, nullable=True),
    sa.Column('cancellation_feedback', sa.String(), nullable=True),
    sa.Column('cancellation_comment', sa.String(), nullable=True),
    sa.Column('paused_at', UTCDateTime(), nullable=True),
    sa.Column('on_hold_at', UTCDateTime(), nullable=True),
    sa.Column('payment_method_id', sa.String(), nullable=True),
    sa.Column('billing', JSONType, nullable=False),
    sa.Column('tax_id', sa.String(), nullable=True),
    sa.Column('business_name', sa.String(), nullable=True),
    sa.Column('collected_by', sa.String(), nullable=False),
    sa.Column('credit_minor', sa.BigInteger(), nullable=False),
    sa.Column('meta', JSONType, nullable=False),
    sa.Column('version', sa.BigInteger(), nullable=False),
    sa.Column('created_at', UTCDateTime(), nullable=False),
    sa.ForeignKeyConstraint(['business_id', 'customer_id', 'payment_method_id'], ['payment_methods.business_id', 'payment_methods.customer_id', 'payment_methods.id'], name=op.f('fk_subscriptions_business_id_customer_id_payment_method_id'), initially='DEFERRED', deferrable=True),
    sa.ForeignKeyConstraint(['business_id', 'customer_id'], ['customers.business_id', 'customers.customer_id'], name=op.f('fk_subscriptions_business_id_customer_id')),
    sa.ForeignKeyConstraint(['business_id', 'product_id'], ['products.business_id', 'products.id'], name=op.f('fk_subscriptions_business_id_product_id')),
    sa.ForeignKeyConstraint(['business_id'], ['businesses.business_id'], name=op.f('fk_subscriptions_business_id')),
    sa.PrimaryKeyConstraint('business_id', 'id', name=op.f('pk_subscriptions')),
    sa.UniqueConstraint('business_id', 'customer_id', 'id', name=op.f('uq_subscriptions_business_id_customer_id_id'))
    )
    op.create_index('ix_subscriptions_created', 'subscriptions', ['business_id', 'created_at', 'id'], unique=False)
    op.create_index('ix_subscriptions_customer', 'subscriptions', ['business_id', 'customer_id', 'status', 'next_billing_at'], unique=False)
    op.create_index('ix_subscriptions_due', 'subscriptions', ['status', 'next_billing_at'], unique=False)
    op.create_table('invoices',
    sa.Column('business_id', sa.String(), nullable=False),
    sa.Column('id', sa.String(), nullable=False),
    sa.Column('customer_id', sa.String(), nullable=False),
    sa.Column('number', sa.String(), nullable=False),
    sa.Column('operation', sa.String(), nullable=False),
    sa.Column('kind', sa.String(), nullable=False),
    sa.Column('status', sa.String(), nullable=False),
    sa.Column('subscription_id', sa.String(), nullable=True),
    sa.Column('description', sa.String(), nullable=False),
    sa.Column('currency', sa.String(), nullable=False),
    sa.Column('subtotal_minor', sa.BigInteger(), nullable=False),
    sa.Column('tax_minor', sa.BigInteger(), nullable=False),
    sa.Column('total_minor', sa.BigInteger(), nullable=False),
    sa.Column('credit_applied_minor', sa.BigInteger(), nullable=False),
    sa.Column('due_minor', sa.BigInteger(), nullable=False),
    sa.Column('paid_minor', sa.BigInteger(), nullable=False),
    sa.Column('refunded_minor', sa.BigInteger(), nullable=False),
    sa.Column('credited_minor', sa.BigInteger(), nullable=False),
    sa.Column('starts_at', UTCDateTime(), nullable=True),
    sa.Column('ends_at', UTCDateTime(), nullable=True),
    sa.Column('issued_at', UTCDateTime(), nullable=False),
    sa.Column('paid_at', UTCDateTime(), nullable=True),
    sa.Column('snapshot', JSONType, nullable=False),
    sa.Column('receipt', JSONType, nullable=True),
    sa.CheckConstraint('refunded_minor >= 0 AND refunded_minor + credited_minor <= paid_minor', name=op.f('ck_invoices_refunds')),
    sa.ForeignKeyConstraint(['business_id', 'customer_id', 'subscription_id'], ['subscriptions.business_id', 'subscriptions.customer_id', 'subscriptions.id'], name=op.f('fk_invoices_business_id_customer_id_subscription_id')),
    sa.ForeignKeyConstraint(['business_id', 'customer_id'], ['customers.business_id', 'customers.customer_id'], name=op.f('fk_invoices_business_id_customer_id')),
    sa.ForeignKeyConstraint(['business_id'], ['businesses.business_id'], name=op.f('fk_invoices_business_id')),
    sa.PrimaryKeyConstraint('business_id', 'id', name=op.f('pk_invoices')),
    sa.UniqueConstraint('business_id', 'customer_id', 'id', name=op.f('uq_invoices_business_id_customer_id_id')),
    sa.UniqueConstraint('business_id', 'number', name=op.f('uq_invoices_business_id_number')),
    sa.UniqueConstraint('business_id', 'operation', name=op.f('uq_invoices_business_id_operation'))
    )
    op.create_index('ix_invoices_customer', 'invoices', ['business_id', 'customer_id', 'issued_at', 'id'], unique=False)
    op.create_index('ix_invoices_subscription', 'invoices', ['business_id', 'subscription_id', 'issued_at'], unique=False)
    op.create_index('ix_invoices_unpaid', 'invoices', ['business_id', 'customer_id', 'issued_at', 'id'], unique=False, sqlite_where=sa.text('paid_minor = 0'), postgresql_where=sa.text('paid_minor = 0'))
    op.create_table('scheduled_changes',
    sa.Column('business_id', sa.String(), nullable=False),
    sa.Column('id', sa.String(), nullable=False),
    sa.Column('customer_id', sa.String(), nullable=False),
    sa.Column('subscription_id', sa.String(), nullable=False),
    sa.Column('product_id', sa.String(), nullable=False),
    sa.Column('quantity', sa.BigInteger(), nullable=False),
    sa.Column('unit_minor', sa.BigInteger(), nullable=False),
    sa.Column('addons', JSONType, nullable=False),
    sa.Column('effective_at', UTCDateTime(), nullable=False),
    sa.Column('created_at', UTCDateTime(), nullable=False),
    sa.Column('cancelled_at', UTCDateTime(), nullable=True),
    sa.Column('applied_at', UTCDateTime(), nullable=True),
    sa.ForeignKeyConstraint(['business_id', 'customer_id', 'subscription_id'], ['subscriptions.business_id', 'subscriptions.customer_id', 'subscriptions.id'], name=op.f('fk_scheduled_changes_business_id_customer_id_subscription_id')),
    sa.ForeignKeyConstraint(['business_id', 'customer_id'], ['customers.business_id', 'customers.customer_id'], name=op.f('fk_scheduled_changes_business_id_customer_id')),
    sa.ForeignKeyConstraint(['business_id', 'product_id'], ['products.business_id', 'products.id'], name=op.f('fk_scheduled_changes_business_id_product_id')),
    sa.ForeignKeyConstraint(['business_id'], ['businesses.business_id'], name=op.f('fk_scheduled_changes_business_id')),
    sa.PrimaryKeyConstraint('business_id', 'id', name=op.f('pk_scheduled_changes'))
    )
    op.create_index('uq_scheduled_changes_open', 'scheduled_changes', ['business_id', 'subscription_id'], unique=True, sqlite_where=sa.text('cancelled_at IS NULL AND applied_at IS NULL'), postgresql_where=sa.text('cancelled_at IS NULL AND applied_at IS NULL'))
    op.create_table('corrections',
    sa.Column('business_id', sa.String(), nullable=False),
    sa.Column('id', sa.String(), nullable=False),
    sa.Column('customer_id', sa.String(), nullable=False),
    sa.Column('invoice_id', sa.String(), nullable=False),
    sa.Column('version', sa.BigInteger(), nullable=False),
    sa.Column('number', sa.String(), nullable=False),
    sa.Column('snapshot', JSONType, nullable=False),
    sa.Column('created_at', UTCDateTime(), nullable=False),
    sa.ForeignKeyConstraint(['business_id', 'customer_id', 'invoice_id'], ['invoices.business_id', 'invoices.customer_id', 'invoices.id'], name=op.f('fk_corrections_business_id_customer_id_invoice_id')),
    sa.ForeignKeyConstraint(['business_id', 'customer_id'], ['customers.business_id', 'customers.customer_id'], name=op.f('fk_corrections_business_id_customer_id')),
    sa.ForeignKeyConstraint(['business_id'], ['businesses.business_id'], name=op.f('fk_corrections_business_id')),
    sa.PrimaryKeyConstraint('business_id', 'id', name=op.f('pk_corrections')),
    sa.UniqueConstraint('business_id', 'invoice_id', 'version', name=op.f('uq_corrections_business_id_invoice_id_version')),
    sa.UniqueConstraint('business_id', 'number', name=op.f('uq_corrections_business_id_number'))
    )
    op.create_table('invoice_lines',
    sa.Column('business_id', sa.String(), nullable=False),
    sa.Column('id', sa.String(), nullable=False),
    sa.Column('customer_id', sa.String(), nullable=False),
    sa.Column('invoice_id', sa.String(), nullable=False),
    sa.Column('position', sa.BigInteger(), nullable=False),
    sa.Column('product_id', sa.String(), nullable=True),
    sa.Column('description', sa.String(), nullable=False),
    sa.Column('quantity', sa.BigInteger(), nullable=False),
    sa.Column('unit_minor', sa.BigInteger(), nullable=False),
    sa.Column('net_minor', sa.BigInteger(), nullable=False),
    sa.Column('tax_minor', sa.BigInteger(), nullable=False),
    sa.Column('tax_bps', sa.BigInteger(), nullable=False),
    sa.Column('refunded_minor', sa.BigInteger(), nullable=False),
    sa.Column('starts_at', UTCDateTime(), nullable=True),
    sa.Column('ends_at', UTCDateTime(), nullable=True),
    sa.CheckConstraint('refunded_minor >= 0 AND refunded_minor <= net_minor + tax_minor', name=op.f('ck_invoice_lines_line_refunds')),
    sa.ForeignKeyConstraint(['business_id', 'customer_id', 'invoice_id'], ['invoices.business_id', 'invoices.customer_id', 'invoices.id'], name=op.f('fk_invoice_lines_business_id_customer_id_invoice_id')),
    sa.ForeignKeyConstraint(['business_id', 'customer_id'], ['customers.business_id', 'customers.customer_id'], name=op.f('fk_invoice_lines_business_id_customer_id')),
    sa.ForeignKeyConstraint(['business_id'], ['businesses.business_id'], name=op.f('fk_invoice_lines_business_id')),
    sa.PrimaryKeyConstraint('business_id', 'id', name=op.f('pk_invoice_lines'))
    )
    op.create_index('ix_invoice_lines_invoice', 'invoice_lines', ['business_id', 'invoice_id', 'position'], unique=False)
    op.create_table('payments',
    sa.Column('business_id', sa.String(), nullable=False),
    sa.Column('id', sa.String(), nullable=False),
    sa.Column('customer_id', sa.String(), nullable=False),
    sa.Column('invoice_id', sa.String(), nullable=True),
    sa.Column('subscription_id', sa.String(), nullable=True),
    sa.Column('brand_id', sa.String(), nullable=False),
    sa.Column('charge_type', sa.String(), nullable=False),
    sa.Column('amount_minor', sa.BigInteger(), nullable=False),
    sa.Column('tax_minor', sa.BigInteger(), nullable=False),
    sa.Column('currency', sa.String(), nullable=False),
    sa.Column('status', sa.String(), nullable=False),
    sa.Column('is_open', sa.Boolean(), nullable=False),
    sa.Column('unknown', sa.Boolean(), nullable=False),
    sa.Column('key', sa.String(), nullable=False),
    sa.Column('attempt', sa.BigInteger(), nullable=False),
    sa.Column('off_session', sa.Boolean(), nullable=False),
    sa.Column('payment_method_id', sa.String(), nullable=True),
    sa.Column('method', JSONType, nullable=False),
    sa.Column('error_code', sa.String(), nullable=True),
    sa.Column('error_message', sa.String(), nullable=True),
    sa.Column('challenged', sa.Boolean(), nullable=False),
    sa.Column('gateway', sa.String(), nullable=False),
    sa.Column('gateway_reference', sa.String(), nullable=True),
    sa.Column('hosted_url', sa.String(), nullable=True),
    sa.Column('intent', JSONType, nullable=False),
    sa.Column('return_url', sa.String(), nullable=True),
    sa.Column('cart', JSONType, nullable=False),
    sa.Column('billing', JSONType, nullable=False),
    sa.Column('meta', JSONType, nullable=False),
    sa.Column('refunded_minor', sa.BigInteger(), nullable=False),
    sa.Column('sent_at', UTCDateTime(), nullable=True),
    sa.Column('check_at', UTCDateTime(), nullable=True),
    sa.Column('fence', sa.BigInteger(), nullable=False),
    sa.Column('created_at', UTCDateTime(), nullable=False),
    sa.Column('updated_at', UTCDateTime(), nullable=False),
    sa.CheckConstraint('refunded_minor >= 0 AND refunded_minor <= amount_minor', name=op.f('ck_payments_refunds')),
    sa.ForeignKeyConstraint(['business_id', 'customer_id', 'invoice_id'], ['invoices.business_id', 'invoices.customer_id', 'invoices.id'], name=op.f('fk_payments_business_id_customer_id_invoice_id')),
    sa.ForeignKeyConstraint(['business_id', 'customer_id', 'payment_method_id'], ['payment_methods.business_id', 'payment_methods.customer_id', 'payment_methods.id'], name=op.f('fk_payments_business_id_customer_id_payment_method_id'), initially='DEFERRED', deferrable=True),
    sa.ForeignKeyConstraint(['business_id', 'customer_id', 'subscription_id'], ['subscriptions.business_id', 'subscriptions.customer_id', 'subscriptions.id'], name=op.f('fk_payments_business_id_customer_id_subscription_id')),
    sa.ForeignKeyConstraint(['business_id', 'customer_id'], ['customers.business_id', 'customers.customer_id'], name=op.f('fk_payments_business_id_customer_id')),
    sa.ForeignKeyConstraint(['business_id'], ['businesses.business_id'], name=op.f('fk_payments_business_id')),
    sa.PrimaryKeyConstraint('business_id', 'id', name=op.f('pk_payments')),
    sa.UniqueConstraint('business_id', 'customer_id', 'id', name=op.f('uq_payments_business_id_customer_id_id')),
    sa.UniqueConstraint('business_id', 'key', name=op.f('uq_payments_business_id_key'))
    )
    op.create_index('ix_payments_check', 'payments', ['is_open', 'check_at'], unique=False)
    op.create_index('ix_payments_created', 'payments', ['business_id', 'created_at', 'id'], unique=False)
    op.create_index('ix_payments_customer', 'payments', ['business_id', 'customer_id', 'created_at', 'id'], unique=False)
    op.create_index('ix_payments_invoice', 'payments', ['business_id', 'invoice_id'], unique=False)
    op.create_index('ix_payments_key', 'payments', ['key'], unique=False)
    op.create_index('ix_payments_subscription', 'payments', ['business_id', 'customer_id', 'subscription_id', 'created_at'], unique=False)
    op.create_index('uq_payments_open_invoice', 'payments', ['business_id', 'invoice_id'], unique=True, sqlite_where=sa.text('is_open'), postgresql_where=sa.text('is_open'))
    op.create_index('uq_payments_open_subscription', 'payments', ['business_id', 'subscription_id'], unique=True, sqlite_where=sa.text('is_open AND subscription_id IS NOT NULL'), postgresql_where=sa.text('is_open AND subscription_id IS NOT NULL'))
    op.create_table('license_keys',
    sa.Column('business_id', sa.String(), nullable=False),
    sa.Column('id', sa.String(), nullable=False),
    sa.Column('customer_id', sa.String(), nullable=False),
    sa.Column('brand_id', sa.String(), nullable=False),
    sa.Column('product_id', sa.String(), nullable=False),
    sa.Column('subscription_id', sa.String(), nullable=True),
    sa.Column('payment_id', sa.String(), nullable=True),
    sa.Column('key', sa.String(), nullable=False),
    sa.Column('status', sa.String(), nullable=False),
    sa.Column('source', sa.String(), nullable=False),
    sa.Column('activations_limit', sa.BigInteger(), nullable=True),
    sa.Column('instances_count', sa.BigInteger(), nullable=False),
    sa.Column('expires_at', UTCDateTime(), nullable=True),
    sa.Column('created_at', UTCDateTime(), nullable=False),
    sa.ForeignKeyConstraint(['business_id', 'customer_id', 'payment_id'], ['payments.business_id', 'payments.customer_id', 'payments.id'], name=op.f('fk_license_keys_business_id_customer_id_payment_id')),
    sa.ForeignKeyConstraint(['business_id', 'customer_id', 'subscription_id'], ['subscriptions.business_id', 'subscriptions.customer_id', 'subscriptions.id'], name=op.f('fk_license_keys_business_id_customer_id_subscription_id')),
    sa.ForeignKeyConstraint(['business_id', 'customer_id'], ['customers.business_id', 'customers.customer_id'], name=op.f('fk_license_keys_business_id_customer_id')),
    sa.ForeignKeyConstraint(['business_id', 'product_id'], ['products.business_id', 'products.id'], name=op.f('fk_license_keys_business_id_product_id')),
    sa.ForeignKeyConstraint(['business_id'], ['businesses.business_id'], name=op.f('fk_license_keys_business_id')),
    sa.PrimaryKeyConstraint('business_id', 'id', name=op.f('pk_license_keys')),
    sa.UniqueConstraint('business_id', 'customer_id', 'id', name=op.f('uq_license_keys_business_id_customer_id_id')),
    sa.UniqueConstraint('business_id', 'key', name=op.f('uq_license_keys_business_id_key'))
    )
    op.create_index('ix_license_keys_customer', 'license_keys', ['business_id', 'customer_id', 'created_at'], unique=False)
    op.create_index('ix_license_keys_key', 'license_keys', ['key'], unique=False)
    op.create_table('quotes',
    sa.Column('business_id', sa.String(), nullable=False),
    sa.Column('id', sa.String(), nullable=False),
    sa.Column('customer_id', sa.String(), nullable=False),
    sa.Column('subscription_id', sa.String(), nullable=False),
    sa.Column('version', sa.BigInteger(), nullable=False),
    sa.Column('product_id', sa.String(), nullable=False),
    sa.Column('quantity', sa.BigInteger(), nullable=False),
    sa.Column('unit_minor', sa.BigInteger(), nullable=False),
    sa.Column('addons', JSONType, nullable=False),
    sa.Column('direction', sa.String(), nullable=False),
    sa.Column('mode', sa.String(), nullable=False),
    sa.Column('effective_at', sa.String(), nullable=False),
    sa.Column('on_payment_failure', sa.String(), nullable=False),
    sa.Column('restarts', sa.Boolean(), nullable=False),
    sa.Column('lines', JSONType, nullable=False),
    sa.Column('total_minor', sa.BigInteger(), nullable=False),
    sa.Column('tax', sa.BigInteger(), nullable=False),
    sa.Column('unused_minor', sa.BigInteger(), nullable=False),
    sa.Column('balance_minor', sa.BigInteger(), nullable=False),
    sa.Column('credit_applied_minor', sa.BigInteger(), nullable=False),
    sa.Column('credit_minor', sa.BigInteger(), nullable=False),
    sa.Column('due_minor', sa.BigInteger(), nullable=False),
    sa.Column('value_minor', sa.BigInteger(), nullable=False),
    sa.Column('withdrawn_minor', sa.BigInteger(), nullable=False),
    sa.Column('source_invoice_id', sa.String(), nullable=True),
    sa.Column('currency', sa.String(), nullable=False),
    sa.Column('payment_method_id', sa.String(), nullable=True),
    sa.Column('as_of', UTCDateTime(), nullable=False),
    sa.Column('next_billing_at', UTCDateTime(), nullable=False),
    sa.Column('next_renewal_minor', sa.BigInteger(), nullable=False),
    sa.Column('expires_at', UTCDateTime(), nullable=False),
    sa.Column('used_at', UTCDateTime(), nullable=True),
    sa.Column('applied_at', UTCDateTime(), nullable=True),
    sa.Column('ends_at', UTCDateTime(), nullable=True),
    sa.Column('payment_id', sa.String(), nullable=True),
    sa.Column('invoice_id', sa.String(), nullable=True),
    sa.Column('outcome', sa.String(), nullable=True),
    sa.Column('created_at', UTCDateTime(), nullable=False),
    sa.CheckConstraint('due_minor >= 0', name=op.f('ck_quotes_due')),
    sa.CheckConstraint('withdrawn_minor >= 0 AND value_minor >= 0', name=op.f('ck_quotes_credit')),
    sa.ForeignKeyConstraint(['business_id', 'customer_id', 'invoice_id'], ['invoices.business_id', 'invoices.customer_id', 'invoices.id'], name=op.f('fk_quotes_business_id_customer_id_invoice_id'), initially='DEFERRED', deferrable=True),
    sa.ForeignKeyConstraint(['business_id', 'customer_id', 'payment_id'], ['payments.business_id', 'payments.customer_id', 'payments.id'], name=op.f('fk_quotes_business_id_customer_id_payment_id'), initially='DEFERRED', deferrable=True),
    sa.ForeignKeyConstraint(['business_id', 'customer_id', 'payment_method_id'], ['payment_methods.business_id', 'payment_methods.customer_id', 'payment_methods.id'], name=op.f('fk_quotes_business_id_customer_id_payment_method_id'), initially='DEFERRED', deferrable=True),
    sa.ForeignKeyConstraint(['business_id', 'customer_id', 'subscription_id'], ['subscriptions.business_id', 'subscriptions.customer_id', 'subscriptions.id'], name=op.f('fk_quotes_business_id_customer_id_subscription_id')),
    sa.ForeignKeyConstraint(['business_id', 'customer_id'], ['customers.business_id', 'customers.customer_id'], name=op.f('fk_quotes_business_id_customer_id')),
    sa.ForeignKeyConstraint(['business_id', 'product_id'], ['products.business_id', 'products.id'], name=op.f('fk_quotes_business_id_product_id')),
    sa.ForeignKeyConstraint(['business_id'], ['businesses.business_id'], name=op.f('fk_quotes_business_id')),
    sa.PrimaryKeyConstraint('business_id', 'id', name=op.f('pk_quotes'))
    )
    op.create_index('ix_quotes_payment', 'quotes', ['business_id', 'payment_id'], unique=False)
    op.create_index('ix_quotes_subscription', 'quotes', ['business_id', 'subscription_id', 'applied_at'], unique=False)
    op.create_table('refunds',
    sa.Column('business_id', sa.String(), nullable=False),
    sa.Column('id', sa.String(), nullable=False),
    sa.Column('customer_id', sa.String(), nullable=False),
    sa.Column('payment_id', sa.String(), nullable=False),
    sa.Column('invoice_id', sa.String(), nullable=True),
    sa.Column('subscription_id', sa.String(), nullable=True),
    sa.Column('brand_id', sa.String(), nullable=False),
    sa.Column('number', sa.String(), nullable=True),
    sa.Column('amount_minor', sa.BigInteger(), nullable=False),
    sa.Column('currency', sa.String(), nullable=False),
    sa.Column('status', sa.String(), nullable=False),
    sa.Column('is_partial', sa.Boolean(), nullable=False),
    sa.Column('reason', sa.String(), nullable=True),
    sa.Column('key', sa.String(), nullable=False),
    sa.Column('lines', JSONType, nullable=False),
    sa.Column('snapshot', JSONType, nullable=True),
    sa.Column('meta', JSONType, nullable=False),
    sa.Column('check_at', UTCDateTime(), nullable=True),
    sa.Column('fence', sa.BigInteger(), nullable=False),
    sa.Column('settled_at', UTCDateTime(), nullable=True),
    sa.Column('created_at', UTCDateTime(), nullable=False),
    sa.ForeignKeyConstraint(['business_id', 'customer_id', 'invoice_id'], ['invoices.business_id', 'invoices.customer_id', 'invoices.id'], name=op.f('fk_refunds_business_id_customer_id_invoice_id'), initially='DEFERRED', deferrable=True),
    sa.ForeignKeyConstraint(['business_id', 'customer_id', 'payment_id'], ['payments.business_id', 'payments.customer_id', 'payments.id'], name=op.f('fk_refunds_business_id_customer_id_payment_id')),
    sa.ForeignKeyConstraint(['business_id', 'customer_id', 'subscription_id'], ['subscriptions.business_id', 'subscriptions.customer_id', 'subscriptions.id'], name=op.f('fk_refunds_business_id_customer_id_subscription_id'), initially='DEFERRED', deferrable=True),
    sa.ForeignKeyConstraint(['business_id', 'customer_id'], ['customers.business_id', 'customers.customer_id'], name=op.f('fk_refunds_business_id_customer_id')),
    sa.ForeignKeyConstraint(['business_id'], ['businesses.business_id'], name=op.f('fk_refunds_business_id')),
    sa.PrimaryKeyConstraint('business_id', 'id', name=op.f('pk_refunds')),
    sa.UniqueConstraint('business_id', 'key', name=op.f('uq_refunds_business_id_key')),
    sa.UniqueConstraint('business_id', 'number', name=op.f('uq_refunds_business_id_number'))
    )
    op.create_index('ix_refunds_check', 'refunds', ['status', 'check_at'], unique=False)
    op.create_index('ix_refunds_customer', 'refunds', ['business_id', 'customer_id', 'created_at', 'id'], unique=False)
    op.create_index('ix_refunds_key', 'refunds', ['key'], unique=False)
    op.create_table('license_instances',
    sa.Column('business_id', sa.String(), nullable=False),
    sa.Column('id', sa.String(), nullable=False),
    sa.Column('customer_id', sa.String(), nullable=False),
    sa.Column('license_key_id', sa.String(), nullable=False),
    sa.Column('name', sa.String(), nullable=False),
    sa.Column('created_at', UTCDateTime(), nullable=False),
    sa.ForeignKeyConstraint(['business_id', 'customer_id', 'license_key_id'], ['license_keys.business_id', 'license_keys.customer_id', 'license_keys.id'], name=op.f('fk_license_instances_business_id_customer_id_license_key_id')),
    sa.ForeignKeyConstraint(['business_id', 'customer_id'], ['customers.business_id', 'customers.customer_id'], name=op.f('fk_license_instances_business_id_customer_id')),
    sa.ForeignKeyConstraint(['business_id'], ['businesses.business_id'], name=op.f('fk_license_instances_business_id')),
    sa.PrimaryKeyConstraint('business_id', 'id', name=op.f('pk_license_instances'))
    )
    op.create_index('ix_license_instances_key', 'license_instances', ['business_id', 'license_key_id'], unique=False)
    _row_level_security()


def _row_level_security() -> None:
    connection = op.get_bind()
    if connection.dialect.name != "postgresql":
        return
    for table, kind in sorted(tables_by_kind().items()):
        if kind != "open" and table in TABLES:
            for statement in statements(table, kind):
                connection.exec_driver_sql(statement)
