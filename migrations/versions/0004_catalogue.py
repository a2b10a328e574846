"""Add groups of collections, pictures, discounts and their redemptions."""

import sqlalchemy as sa
from alembic import op

from core.models import JSONType, UTCDateTime
from core.rls import statements
from migrations.former_names import tables_by_kind

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

TABLES = ("collection_groups", "discount_redemptions", "discount_codes", "pictures")
HELD = ("payments", "quotes", "scheduled_changes", "subscriptions")
"""What carries a copy of the discounts that it was priced with."""


def upgrade() -> None:
    op.create_table('collection_groups',
    sa.Column('business_id', sa.String(), nullable=False),
    sa.Column('id', sa.String(), nullable=False),
    sa.Column('collection_id', sa.String(), nullable=False),
    sa.Column('name', sa.String(), nullable=True),
    sa.Column('position', sa.BigInteger(), nullable=False),
    sa.Column('enabled', sa.Boolean(), nullable=False),
    sa.ForeignKeyConstraint(['business_id', 'collection_id'], ['collections.business_id', 'collections.id'], name=op.f('fk_collection_groups_business_id_collection_id')),
    sa.ForeignKeyConstraint(['business_id'], ['businesses.business_id'], name=op.f('fk_collection_groups_business_id')),
    sa.PrimaryKeyConstraint('business_id', 'id', name=op.f('pk_collection_groups'))
    )
    op.create_table('pictures',
    sa.Column('business_id', sa.String(), nullable=False),
    sa.Column('id', sa.String(), nullable=False),
    sa.Column('noun_id', sa.String(), nullable=False),
    sa.Column('png', sa.LargeBinary(), nullable=True),
    sa.Column('created_at', UTCDateTime(), nullable=False),
    sa.ForeignKeyConstraint(['business_id'], ['businesses.business_id'], name=op.f('fk_pictures_business_id')),
    sa.PrimaryKeyConstraint('business_id', 'id', name=op.f('pk_pictures'))
    )
    op.create_table('discount_codes',
    sa.Column('business_id', sa.String(), nullable=False),
    sa.Column('id', sa.String(), nullable=False),
    sa.Column('code', sa.String(), nullable=False),
    sa.Column('name', sa.String(), nullable=True),
    sa.Column('kind', sa.String(), nullable=False),
    sa.Column('amount', sa.BigInteger(), nullable=False),
    sa.Column('currencies', JSONType, nullable=False),
    sa.Column('eligibility', sa.String(), nullable=False),
    sa.Column('restricted_to', JSONType, nullable=False),
    sa.Column('usage_limit', sa.BigInteger(), nullable=True),
    sa.Column('per_customer_limit', sa.BigInteger(), nullable=True),
    sa.Column('times_used', sa.BigInteger(), nullable=False),
    sa.Column('cycles', sa.BigInteger(), nullable=True),
    sa.Column('keeps', sa.Boolean(), nullable=False),
    sa.Column('starts_at', UTCDateTime(), nullable=True),
    sa.Column('expires_at', UTCDateTime(), nullable=True),
    sa.Column('meta', JSONType, nullable=False),
    sa.Column('created_at', UTCDateTime(), nullable=False),
    sa.Column('deleted_at', UTCDateTime(), nullable=True),
    sa.CheckConstraint('times_used >= 0', name=op.f('ck_discount_codes_used')),
    sa.ForeignKeyConstraint(['business_id'], ['businesses.business_id'], name=op.f('fk_discount_codes_business_id')),
    sa.PrimaryKeyConstraint('business_id', 'id', name=op.f('pk_discount_codes'))
    )
    op.create_index('ix_discount_codes_created', 'discount_codes', ['business_id', 'created_at', 'id'], unique=False)
    alive = sa.text('deleted_at IS NULL')
    op.create_index('uq_discount_codes_code', 'discount_codes', ['business_id', 'code'], unique=True, sqlite_where=alive, postgresql_where=alive)
    op.create_table('discount_redemptions',
    sa.Column('business_id', sa.String(), nullable=False),
    sa.Column('id', sa.String(), nullable=False),
    sa.Column('customer_id', sa.String(), nullable=False),
    sa.Column('discount_id', sa.String(), nullable=False),
    sa.Column('payment_id', sa.String(), nullable=True),
    sa.Column('subscription_id', sa.String(), nullable=True),
    sa.Column('created_at', UTCDateTime(), nullable=False),
    sa.ForeignKeyConstraint(['business_id', 'customer_id', 'payment_id'], ['payments.business_id', 'payments.customer_id', 'payments.id'], name=op.f('fk_discount_redemptions_business_id_customer_id_payment_id'), initially='DEFERRED', deferrable=True),
    sa.ForeignKeyConstraint(['business_id', 'customer_id', 'subscription_id'], ['subscriptions.business_id', 'subscriptions.customer_id', 'subscriptions.id'], name=op.f('fk_discount_redemptions_business_id_customer_id_subscription_id'), initially='DEFERRED', deferrable=True),
    sa.ForeignKeyConstraint(['business_id', 'customer_id'], ['customers.business_id', 'customers.customer_id'], name=op.f('fk_discount_redemptions_business_id_customer_id')),
    sa.ForeignKeyConstraint(['business_id', 'discount_id'], ['discount_codes.business_id', 'discount_codes.id'], name=op.f('fk_discount_redemptions_business_id_discount_id')),
    sa.ForeignKeyConstraint(['business_id'], ['businesses.business_id'], name=op.f('fk_discount_redemptions_business_id')),
    sa.PrimaryKeyConstraint('business_id', 'id', name=op.f('pk_discount_redemptions'))
    )
    op.create_index('ix_discount_redemptions_payment', 'discount_redemptions', ['business_id', 'payment_id'], unique=False)
    op.create_index('ix_discount_redemptions_discount', 'discount_redemptions', ['business_id', 'discount_id', 'customer_id'], unique=False)
    op.add_column('addons', sa.Column('image', sa.String(), nullable=True))
    op.add_column('collections', sa.Column('image', sa.String(), nullable=True))
    for table in HELD:
        op.add_column(table, sa.Column('discounts', JSONType, nullable=False, server_default='[]'))
    _groups()
    _row_level_security()


def _groups() -> None:
    """Create group rows from the group names that were stored on items."""
    connection = op.get_bind()
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SELECT set_config('portal.kind', 'everything', true)")
    connection.exec_driver_sql(
        "INSERT INTO collection_groups (business_id, id, collection_id, name, position, enabled)"
        " SELECT business_id, group_id, collection_id, max(group_name), min(position), true FROM collection_items"
        " GROUP BY business_id, group_id, collection_id"
    )
    with op.batch_alter_table("collection_items") as items:
        items.drop_column("group_name")
        items.create_foreign_key(
            op.f("fk_collection_items_business_id_group_id"), "collection_groups", ["business_id", "group_id"], ["business_id", "id"]
        )


def _row_level_security() -> None:
    connection = op.get_bind()
    if connection.dialect.name != "postgresql":
        return
    kinds = tables_by_kind()
    for table in TABLES:
        for statement in statements(table, kinds[table]):
            connection.exec_driver_sql(statement)
