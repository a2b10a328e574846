"""The first rooms: every table, and row-level security on PostgreSQL."""

from alembic import op

from core.models import tables_by_kind
from core.rls import statements
from migrations.tables import metadata

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    connection = op.get_bind()
    metadata.create_all(connection)
    if connection.dialect.name == "postgresql":
        for table, kind in sorted(tables_by_kind().items()):
            if kind != "open" and table != "deployment":
                for statement in statements(table, kind):
                    connection.exec_driver_sql(statement)
