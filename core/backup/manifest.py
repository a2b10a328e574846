"""The manifest of a backup: mode, schema, rows per table, and a hash of all documents."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import inspect
from sqlalchemy.engine import Connection

NAME = "manifest.json"
_FORMAT = 1


class BadBackup(RuntimeError):
    """The backup or the database is invalid. The message says what and where."""


@dataclass(frozen=True)
class Manifest:
    """Figures of a database in one snapshot. `documents_sha256`: hash of (business, id, hash of the PDF), in order."""

    mode: str
    engine: str
    schema: list[str]
    rows: dict[str, int]
    documents_sha256: str
    made_at: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)  # file name → SHA-256 of its bytes
    format: int = _FORMAT

    def write(self, folder: Path) -> None:
        """Write the file atomically, so that an interrupted backup has no manifest."""
        partial = folder / f"{NAME}.partial"
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            json.dump(asdict(self), file, indent=1, sort_keys=True)
            file.flush()
            os.fsync(file.fileno())
        partial.rename(folder / NAME)


def read(folder: Path) -> Manifest:
    """Read the manifest of a finished backup. Raises BadBackup if it is missing or unreadable, or another file has changed."""
    try:
        found = Manifest(**json.loads((folder / NAME).read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise BadBackup(f"{folder} has no {NAME}: it is not a backup, or the backup was interrupted.") from None
    except (ValueError, TypeError) as wrong:
        raise BadBackup(f"{folder / NAME} cannot be read: {wrong}") from None
    if found.format != _FORMAT:
        raise BadBackup(f"{folder / NAME} has format {found.format}; this version reads format {_FORMAT}.")
    for name, wanted in found.files.items():
        path = folder / name
        if not path.is_file():
            raise BadBackup(f"{path} is missing.")
        if file_sha256(path) != wanted:
            raise BadBackup(f"{path} has changed since the backup was made (its SHA-256 differs).")
    return found


def take(connection: Connection) -> Manifest:
    """Create the manifest of a database in one transaction. Raises BadBackup without tables, or if a document is damaged."""
    tables = sorted(inspect(connection).get_table_names())
    if "deployment" not in tables or "alembic_version" not in tables:
        raise BadBackup("The database has no tables of the portal.")
    run = connection.exec_driver_sql
    quote = connection.dialect.identifier_preparer.quote
    rows = {name: int(run(f"SELECT count(*) FROM {quote(name)}").scalar_one()) for name in tables}  # noqa: S608 - names of tables
    return Manifest(
        mode=str(run("SELECT mode FROM deployment").scalar()),
        engine=connection.dialect.name,
        schema=sorted(run("SELECT version_num FROM alembic_version").scalars()),
        rows=rows,
        documents_sha256=_documents(connection),
        made_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def differences(backup: Manifest, database: Manifest) -> Iterator[str]:
    """Yield one sentence per difference between a backup and a database."""
    if backup.mode != database.mode:
        yield f"The backup is of a {backup.mode} deployment, the database of a {database.mode} deployment."
    if backup.schema != database.schema:
        yield f"The backup has schema {', '.join(backup.schema)}, the database {', '.join(database.schema)}."
    for name in sorted({*backup.rows, *database.rows}):
        there, here = backup.rows.get(name), database.rows.get(name)
        if there is None or here is None:
            yield f"Table {name} is missing in the {'backup' if there is None else 'database'}."
        elif there != here:
            yield f"Table {name} has {there} rows in the backup and {here} in the database."
    if backup.documents_sha256 != database.documents_sha256:
        yield "The documents differ: their common hash is not that of the backup."


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _documents(connection: Connection) -> str:
    """Return one hash of all stored PDFs. Raises BadBackup if a document does not match its stored hash."""
    collate = ' COLLATE "C"' if connection.dialect.name == "postgresql" else ""
    total = hashlib.sha256()
    found = connection.exec_driver_sql(
        f"SELECT business_id, id, sha256, pdf FROM documents ORDER BY business_id{collate}, id{collate}",  # noqa: S608
        execution_options={"yield_per": 50},
    )
    for business_id, id, stored, pdf in found:
        actual = hashlib.sha256(pdf).hexdigest()
        if actual != stored:
            raise BadBackup(f"Document {id} of business {business_id} is damaged: its bytes do not have the stored hash.")
        total.update(f"{business_id}/{id}/{actual}\n".encode())
    return total.hexdigest()
