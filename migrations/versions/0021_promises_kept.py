"""Look license keys up without surrounding space and case, by a stored folded form."""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

_BATCH = 1000


def upgrade() -> None:
    folded = sa.String().with_variant(sa.String(collation="C"), "postgresql")
    op.add_column("license_keys", sa.Column("match_key", folded, nullable=False, server_default=""))
    if op.get_bind().dialect.name == "postgresql":
        op.get_bind().exec_driver_sql("SELECT set_config('portal.kind', 'everything', true)")
    _fold_keys()
    op.drop_index("ix_license_keys_key", table_name="license_keys")
    op.create_index("ix_license_keys_match", "license_keys", ["match_key"])


def _fold_keys() -> None:
    """Fold in Python, because both databases fold case differently from each other and from the application."""
    connection, after = op.get_bind(), ("", "")
    row = sa.table("license_keys", *(sa.column(name) for name in ("business_id", "id", "key", "match_key")))
    change = sa.update(row).where(row.c.business_id == sa.bindparam("b"), row.c.id == sa.bindparam("i")).values(match_key=sa.bindparam("m"))
    order = (row.c.business_id, row.c.id)
    while True:
        query = sa.select(*order, row.c.key).where(sa.tuple_(*order) > sa.tuple_(*after)).order_by(*order)
        found = connection.execute(query.limit(_BATCH)).all()
        if not found:
            return
        connection.execute(change, [{"b": business_id, "i": one, "m": _folded(key)} for business_id, one, key in found])
        after = (found[-1][0], found[-1][1])


def _folded(text: str) -> str:
    return text.strip().strip("\u200b\u2060\ufeff").strip().casefold()
