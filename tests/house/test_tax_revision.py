"""Revision 0019 on existing lines: taxed lines get a tax category, and credit lines can be added."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, select, text, update

from billing.model.invoices import InvoiceLine
from core import guard
from core.revisions import MIGRATIONS
from core.scope import everything
from tests.cast import Cast

REVISION, BEFORE = "0019", "0015"
LINE = ("INSERT INTO invoice_lines (business_id, id, customer_id, invoice_id, position, description, quantity, unit_minor, net_minor,"
        " tax_minor, tax_bps, refunded_minor) VALUES ('b', :id, 'c', 'i', 0, 'Team', 1, 1000, :net, :tax, :bps, :back)")  # fmt: skip


def test_taxed_lines_get_a_tax_category(cast: Cast) -> None:
    with cast.services.database.open(everything("lines of before"), write=True) as db:
        for invoice_line in db.scalars(select(InvoiceLine)):
            invoice_line.tax_code = None
    with cast.services.database.engine.begin() as connection, guard.raw_sql(), Operations.context(MigrationContext.configure(connection)):
        ScriptDirectory(MIGRATIONS).get_revision(REVISION).module._treat()
    with cast.services.database.open(everything("lines of before")) as db:
        codes = {(invoice_line.tax_bps > 0, invoice_line.tax_code) for invoice_line in db.scalars(select(InvoiceLine))}
    assert (True, "S") in codes and codes <= {(True, "S"), (False, None)}


def test_a_database_with_lines_is_migrated(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'before.sqlite3'}")
    for revision in (BEFORE, "head"):
        with engine.begin() as connection, guard.raw_sql():
            config = Config()
            config.set_main_option("script_location", str(MIGRATIONS))
            config.attributes["connection"] = connection
            command.upgrade(config, revision)
            if revision == BEFORE:
                for id, net, tax, bps, back in (("one", 1000, 200, 2000, 300), ("two", 1000, 0, 0, 0)):
                    connection.execute(text(LINE), {"id": id, "net": net, "tax": tax, "bps": bps, "back": back})
    with engine.begin() as connection:
        rows = connection.execute(text("SELECT id, kind, tax_code, refunded_minor FROM invoice_lines ORDER BY id")).all()
        assert rows == [("one", "item", "S", 300), ("two", "item", None, 0)]
        connection.execute(text(LINE), {"id": "credit", "net": -380, "tax": -76, "bps": 2000, "back": 0})
        lines = InvoiceLine.__table__
        try:
            connection.execute(update(lines).where(lines.c.id == "credit").values(refunded_minor=1))
        except Exception as refused:
            assert "line_refunds" in str(refused)
        else:
            raise AssertionError("a line of credit was refunded")
    engine.dispose()
