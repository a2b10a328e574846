"""Add team and invitations, search words of customers, customer exports and impersonation sessions. Make events append-only."""

import sqlalchemy as sa
from alembic import op

from billing.model.customer_search import words_of
from core.models import UTCDateTime
from core.rls import statements
from migrations.former_names import tables_by_kind

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

TABLES = ("customer_export_parts", "customer_exports", "customer_views", "customer_words", "invitations", "memberships")


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
    op.create_table('customer_words',
    sa.Column('business_id', sa.String(), nullable=False),
    sa.Column('id', sa.String(), nullable=False),
    sa.Column('customer_id', sa.String(), nullable=False),
    sa.Column('word', sa.String().with_variant(sa.String(collation='C'), 'postgresql'), nullable=False),
    sa.ForeignKeyConstraint(['business_id', 'customer_id'], ['customers.business_id', 'customers.customer_id'], name=op.f('fk_customer_words_business_id_customer_id')),
    sa.ForeignKeyConstraint(['business_id'], ['businesses.business_id'], name=op.f('fk_customer_words_business_id')),
    sa.PrimaryKeyConstraint('business_id', 'id', name=op.f('pk_customer_words'))
    )
    op.create_index('ix_customer_words_word', 'customer_words', ['business_id', 'word', 'customer_id'], unique=False)
    op.create_table('customer_exports',
    sa.Column('business_id', sa.String(), nullable=False),
    sa.Column('id', sa.String(), nullable=False),
    sa.Column('words', sa.String(), nullable=False),
    sa.Column('asked_by', sa.String(), nullable=False),
    sa.Column('total', sa.BigInteger(), nullable=False),
    sa.Column('written', sa.BigInteger(), nullable=False),
    sa.Column('parts', sa.BigInteger(), nullable=False),
    sa.Column('mark', sa.String(), nullable=False),
    sa.Column('created_at', UTCDateTime(), nullable=False),
    sa.Column('finished_at', UTCDateTime(), nullable=True),
    sa.ForeignKeyConstraint(['business_id'], ['businesses.business_id'], name=op.f('fk_customer_exports_business_id')),
    sa.PrimaryKeyConstraint('business_id', 'id', name=op.f('pk_customer_exports'))
    )
    op.create_index('ix_customer_exports_created', 'customer_exports', ['business_id', 'created_at'], unique=False)
    op.create_table('customer_export_parts',
    sa.Column('business_id', sa.String(), nullable=False),
    sa.Column('id', sa.String(), nullable=False),
    sa.Column('export_id', sa.String(), nullable=False),
    sa.Column('text', sa.String(), nullable=False),
    sa.ForeignKeyConstraint(['business_id', 'export_id'], ['customer_exports.business_id', 'customer_exports.id'], name=op.f('fk_customer_export_parts_business_id_export_id')),
    sa.ForeignKeyConstraint(['business_id'], ['businesses.business_id'], name=op.f('fk_customer_export_parts_business_id')),
    sa.PrimaryKeyConstraint('business_id', 'id', name=op.f('pk_customer_export_parts'))
    )
    op.create_index('ix_customer_export_parts_export', 'customer_export_parts', ['business_id', 'export_id'], unique=False)
    op.create_table('customer_views',
    sa.Column('business_id', sa.String(), nullable=False),
    sa.Column('id', sa.String(), nullable=False),
    sa.Column('customer_id', sa.String(), nullable=False),
    sa.Column('membership_id', sa.String(), nullable=False),
    sa.Column('session_id', sa.String(), nullable=False),
    sa.Column('reason', sa.String(), nullable=False),
    sa.Column('started_at', UTCDateTime(), nullable=False),
    sa.Column('expires_at', UTCDateTime(), nullable=False),
    sa.Column('ended_at', UTCDateTime(), nullable=True),
    sa.ForeignKeyConstraint(['business_id', 'customer_id'], ['customers.business_id', 'customers.customer_id'], name=op.f('fk_customer_views_business_id_customer_id')),
    sa.ForeignKeyConstraint(['business_id', 'membership_id'], ['memberships.business_id', 'memberships.id'], name=op.f('fk_customer_views_business_id_membership_id')),
    sa.ForeignKeyConstraint(['business_id'], ['businesses.business_id'], name=op.f('fk_customer_views_business_id')),
    sa.PrimaryKeyConstraint('business_id', 'id', name=op.f('pk_customer_views'))
    )
    op.create_index('ix_customer_views_customer', 'customer_views', ['business_id', 'customer_id', 'started_at'], unique=False)
    op.create_index('ix_events_type', 'events', ['business_id', 'type', 'at', 'id'], unique=False)
    op.create_index('ix_events_actor', 'events', ['business_id', 'actor_type', 'actor_id', 'at', 'id'], unique=False)
    _row_level_security()
    _append_only()
    _find_everybody()


def _append_only() -> None:
    """Refuse changes and deletions of events for every role, including the owner of the tables."""
    connection = op.get_bind()
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("CREATE FUNCTION events_stay() RETURNS trigger LANGUAGE plpgsql AS "
                                   "$$ BEGIN RAISE EXCEPTION 'events are append-only'; END $$")
        connection.exec_driver_sql("CREATE TRIGGER events_stay BEFORE UPDATE OR DELETE ON events "
                                   "FOR EACH STATEMENT EXECUTE FUNCTION events_stay()")
        return
    for verb in ("UPDATE", "DELETE"):
        connection.exec_driver_sql(f"CREATE TRIGGER events_stay_{verb.lower()} BEFORE {verb} ON events "
                                   "BEGIN SELECT RAISE(ABORT, 'events are append-only'); END")


def _find_everybody() -> None:
    """Add search words for existing customers."""
    connection = op.get_bind()
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SELECT set_config('portal.kind', 'everything', true)")
    customers = sa.table("customers", *(sa.column(name) for name in _NAMED))
    words = sa.table("customer_words", *(sa.column(name) for name in ("business_id", "id", "customer_id", "word")))
    found = connection.execute(sa.select(customers).execution_options(yield_per=1000))
    for rows in found.partitions():
        connection.execute(words.insert(), [
            {"business_id": row.business_id, "customer_id": row.customer_id, "id": f"{row.customer_id}:{n}", "word": word}
            for row in rows for n, word in enumerate(words_of(row))])


_NAMED = ("business_id", "customer_id", "name", "email", "email_key", "business_name")


def _row_level_security() -> None:
    connection = op.get_bind()
    if connection.dialect.name != "postgresql":
        return
    kinds = tables_by_kind()
    for table in TABLES:
        for statement in statements(table, kinds[table]):
            connection.exec_driver_sql(statement)
