"""Keep files readable by the portal's user only: databases hold addresses, sessions and encrypted secrets.

SQLite gives `-wal`, `-shm` and `-journal` files the permissions of their database.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

import structlog

log = structlog.get_logger()
FILE, FOLDER = 0o600, 0o700
_BESIDE = ("", "-wal", "-shm", "-journal")


def private_umask() -> None:
    """Make all new files of this process private to its user."""
    os.umask(os.umask(0o077) | 0o077)


def private_folder(path: Path) -> None:
    """Create a private folder and its parents. Tighten an existing one if the user owns it and it is not shared (/tmp)."""
    if path.exists():
        if not path.stat().st_mode & stat.S_ISVTX:
            _tighten(path, FOLDER)
        return
    for item in [*reversed(path.parents), path]:
        if not item.exists():
            item.mkdir(FOLDER, exist_ok=True)


def private_database(path: Path) -> None:
    """Create an empty, private SQLite file, or tighten the permissions of an existing one."""
    if not path.parent.exists():
        private_folder(path.parent)
    with suppress(FileExistsError):
        # an existing database must not be opened here: closing any descriptor drops all locks of this process on the file
        # (fcntl(2), "advisory record locking"), and SQLite relies on those locks
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, FILE))
    for end in _BESIDE:
        _tighten(Path(f"{path}{end}"), FILE)


def _tighten(path: Path, mode: int) -> None:
    try:
        found = path.stat()
        if found.st_uid == os.geteuid() and stat.S_IMODE(found.st_mode) & 0o077:
            path.chmod(mode)
    except FileNotFoundError:  # missing, or just deleted by SQLite
        return
    except OSError as error:
        log.warning("file may be readable by other users", path=str(path), why=str(error))
