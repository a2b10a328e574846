"""`flask backup DIR` and `flask restore DIR [--check]`. They work without the application, also on an empty database."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click
from flask import Flask
from sqlalchemy.exc import SQLAlchemyError

from core.backup import manifest, postgres, sqlite
from core.backup.manifest import BadBackup, Manifest
from core.settings import Settings


def register(app: Flask, settings: Settings) -> None:
    @app.cli.command("backup")
    @click.argument("folder", type=click.Path(path_type=Path))
    def backup(folder: Path) -> None:
        """Write a backup to the new directory FOLDER and verify it. Safe while the portal is running."""
        with _Problems():
            _print(save(settings, folder), f"The backup is in {folder}.")

    @app.cli.command("restore")
    @click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
    @click.option("--check", is_flag=True, help="Only compare the configured database with the backup.")
    def restore(folder: Path, check: bool) -> None:
        """Load the backup in FOLDER into an empty database and verify it."""
        with _Problems():
            if not check:
                load(settings, folder)
            _print(compare(settings, folder), "The database and the backup are equal.")


def save(settings: Settings, folder: Path) -> Manifest:
    """Write a backup to a new directory. Raises BadBackup. An unfinished backup has no manifest."""
    try:
        folder.mkdir(parents=True, mode=0o700)
    except FileExistsError:
        raise BadBackup(f"{folder} already exists. Choose a new directory.") from None
    found = (sqlite if settings.is_sqlite else postgres).save(settings, folder)
    books = settings.data_dir / sqlite.SANDBOX
    if settings.gateway == "sandbox" and books.is_file():
        sqlite.copy(books, folder / sqlite.SANDBOX)
    finished: Manifest = replace(found, files={path.name: manifest.file_sha256(path) for path in sorted(folder.iterdir())})
    finished.write(folder)
    return finished


def load(settings: Settings, folder: Path) -> None:
    """Restore a backup into an empty database of the same mode and engine. Raises BadBackup before anything is written."""
    wanted = manifest.read(folder)
    if wanted.mode != settings.mode:
        raise BadBackup(f"This is a backup of a {wanted.mode} deployment; PORTAL_MODE is {settings.mode}.")
    engine = "sqlite" if settings.is_sqlite else "postgresql"
    if wanted.engine != engine:
        raise BadBackup(f"This is a backup of {wanted.engine}; DATABASE_URL is {engine}.")
    books = settings.data_dir / sqlite.SANDBOX
    has_books = sqlite.SANDBOX in wanted.files
    if has_books and books.exists():
        raise BadBackup(f"{books} already exists; move it away first.")
    (sqlite if settings.is_sqlite else postgres).load(settings, folder)
    if has_books:
        sqlite.copy(folder / sqlite.SANDBOX, books)


def compare(settings: Settings, folder: Path) -> Manifest:
    """Return the manifest of the database. Raises BadBackup with all differences to the backup."""
    wanted = manifest.read(folder)
    found = sqlite.count(sqlite.path_of(settings)) if settings.is_sqlite else postgres.count(settings)
    if different := list(manifest.differences(wanted, found)):
        raise BadBackup("\n".join(different))
    return found


def _print(found: Manifest, sentence: str) -> None:
    click.echo(
        f"{sentence} {len(found.rows)} tables, {sum(found.rows.values())} rows, {found.rows['documents']} documents, "
        f"schema {', '.join(found.schema)}, {found.mode} mode."
    )
    for tool, version in found.versions.items():
        click.echo(f"{tool} {version}")


class _Problems:
    """Turn errors into one message on stderr and exit code 1, without a traceback."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, _type: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, BadBackup | OSError):
            raise click.ClickException(str(error)) from error
        if isinstance(error, SQLAlchemyError):
            raise click.ClickException(f"The database does not answer as it should: {getattr(error, 'orig', None) or error}") from error
