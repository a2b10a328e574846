"""Files that only the portal's own user may read: databases hold addresses, sessions and sealed secrets.

SQLite gives `-wal`, `-shm` and `-journal` the permissions of the database they belong to, so they are right where it is.
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
    """Whatever this process writes from now on is its user's alone."""
    os.umask(os.umask(0o077) | 0o077)


def private_folder(path: Path) -> None:
    """Make it, with its parents, for its user alone; or tighten it, if it is ours and not where everybody keeps files (/tmp)."""
    if path.exists():
        if not path.stat().st_mode & stat.S_ISVTX:
            _tighten(path, FOLDER)
        return
    for one in [*reversed(path.parents), path]:
        if not one.exists():
            one.mkdir(FOLDER, exist_ok=True)


def private_database(path: Path) -> None:
    """Make an empty SQLite file (which is a database) readable and writable by its user alone, or tighten what is there."""
    if not path.parent.exists():
        private_folder(path.parent)
    with suppress(FileExistsError):
        # never open a database that is there: closing any descriptor of it drops every lock that this process holds on it
        # (fcntl(2), "advisory record locking"), and SQLite relies on those locks
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, FILE))
    for end in _BESIDE:
        _tighten(Path(f"{path}{end}"), FILE)


def _tighten(path: Path, mode: int) -> None:
    try:
        found = path.stat()
        if found.st_uid == os.geteuid() and stat.S_IMODE(found.st_mode) & 0o077:
            path.chmod(mode)
    except FileNotFoundError:  # not there, or SQLite took it away just now
        return
    except OSError as why:
        log.warning("others may read this", path=str(path), why=str(why))
