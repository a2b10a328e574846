"""Watch disk space: free space in the folders of this process, and "disk full" errors of the database."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import structlog
from sqlalchemy import event
from sqlalchemy.engine import Engine, ExceptionContext

from core.settings import Settings

log = structlog.get_logger()

MINIMUM = 32 * 1024 * 1024  # bytes; SQLite's log alone needs some before it is written back
LOW = 512 * 1024 * 1024  # bytes
REMEMBERED = 120.0  # seconds after a "disk full" error of the database
_FULL = frozenset(
    {
        "53100",  # SQLSTATE disk_full
        "SQLITE_FULL",
        "SQLITE_IOERR_WRITE",
        "SQLITE_IOERR_SHMSIZE",  # https://sqlite.org/rescode.html
    }
)


class DiskSpace:
    """Below `low` bytes there is a note; below `minimum` bytes this process is not ready.

    `remembered`: seconds that a "disk full" error counts. A later success does not reset it, because a small row often still fits.
    """

    def __init__(self, engine: Engine, settings: Settings) -> None:
        self.minimum, self.low, self.remembered = MINIMUM, LOW, REMEMBERED
        self._refused_at: float | None = None
        self._folders = {"the data folder": settings.data_dir}
        database = engine.url.database or ""
        if engine.dialect.name == "sqlite" and database not in ("", ":memory:") and not database.startswith("file:"):
            self._folders["the database"] = Path(database).parent
        event.listen(engine, "handle_error", self._note_error)

    def problems(self) -> list[str]:
        """Return one sentence for each full disk, without a path."""
        full = [name for name, free in self._free().items() if free < self.minimum]
        if self._refused_at is not None and time.monotonic() - self._refused_at < self.remembered and "the database" not in full:
            full.append("the database")
        return [f"the disk of {name} is full" for name in full]

    def notes(self) -> list[str]:
        return [
            f"the disk of {name} has less than {self.low // 2**20} MB left"
            for name, free in self._free().items()
            if self.minimum <= free < self.low
        ]

    def _free(self) -> dict[str, int]:
        """Return the free bytes for ordinary users, for each folder that exists."""
        found = {}
        for name, folder in self._folders.items():
            try:
                found[name] = shutil.disk_usage(folder).free
            except OSError:
                continue  # a missing folder is not full
        return found

    def _note_error(self, context: ExceptionContext) -> None:
        error = context.original_exception
        if not _FULL.isdisjoint((getattr(error, "sqlstate", None), getattr(error, "sqlite_errorname", None))):
            if self._refused_at is None or time.monotonic() - self._refused_at >= self.remembered:
                log.error("the database's disk is full", reason=type(error).__name__)
            self._refused_at = time.monotonic()
