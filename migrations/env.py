"""Alembic's entry point. Runs on the connection from `core/schema.py`, or of a temporary database to generate revisions."""

from __future__ import annotations

from alembic import context

from core import guard
from migrations.tables import metadata

connection = context.config.attributes["connection"]

context.configure(connection=connection, target_metadata=metadata, transaction_per_migration=False, render_as_batch=False)
with guard.raw_sql(), context.begin_transaction():
    context.run_migrations()
