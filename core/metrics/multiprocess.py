"""`serve --processes N`: every process writes its counters to one folder, and each can report the sum.

This is the multiprocess mode of prometheus_client, which is chosen at its first import. Serving processes are forked, so the
folder is created at import by the process that runs `serve`, and deleted when that process ends.
"""

from __future__ import annotations

import atexit
import fcntl
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
_PREFIX = "portal-metrics-"
_ENDED = "ended"
_LIVE = "gauge_live*_*.db"  # gauges that count only while their process runs


def prepare() -> None:
    """Create the folder if this process is `flask serve`. Call it before prometheus_client is imported.

    A folder that the operator set is used. Without a writable temporary folder, each process reports only itself.
    """
    if VARIABLE in os.environ or "serve" not in sys.argv[1:] or os.path.basename(sys.argv[0]) not in ("flask", "flask.exe", "__main__.py"):
        return
    _remove_left_over()
    with suppress(OSError):
        made = tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-")
        os.environ[VARIABLE] = made
        atexit.register(_remove, made, os.getpid())


def folder() -> str | None:
    """Return the folder of the processes of this server; None with one process."""
    found = os.environ.get(VARIABLE)
    return found if found and os.path.isdir(found) else None


@contextmanager
def reading(path: str) -> Iterator[None]:
    """Lock the folder for reading. First remove the gauges of ended processes and merge their counters."""
    with open(Path(path) / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for file in Path(path).glob(_LIVE):
            if not _runs(_pid(file)):
                file.unlink(missing_ok=True)
        for kind in ("counter", "histogram"):
            _merge(Path(path), kind)
        yield


def _merge(path: Path, kind: str) -> None:
    """Merge the counters of ended processes into one file."""
    ended = [file for file in path.glob(f"{kind}_*.db") if file.stem != f"{kind}_{_ENDED}" and not _runs(_pid(file))]
    if not ended:
        return
    from prometheus_client.mmap_dict import MmapedDict  # only after prepare()

    target, made = path / f"{kind}_{_ENDED}.db", path / f"{kind}.new"
    sums: dict[str, float] = {}
    for file in [*ended, *([target] if target.exists() else [])]:
        for key, value, _at, _position in MmapedDict.read_all_values_from_file(str(file)):  # type: ignore[no-untyped-call]
            sums[key] = sums.get(key, 0.0) + value
    made.unlink(missing_ok=True)
    together = MmapedDict(str(made))  # type: ignore[no-untyped-call]
    for key, value in sums.items():
        together.write_value(key, value, 0.0)  # type: ignore[no-untyped-call]
    together.close()  # type: ignore[no-untyped-call]
    made.replace(target)
    for file in ended:
        file.unlink()


def _pid(file: Path) -> str:
    return file.stem.rpartition("_")[2]


def _remove(path: str, owner: int) -> None:
    if os.getpid() == owner:  # forked processes inherit this handler
        shutil.rmtree(path, ignore_errors=True)


def _remove_left_over() -> None:
    """Remove the folders of servers that were killed."""
    for path in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*-*"):
        with suppress(OSError):
            if path.stat().st_uid == os.getuid() and not _runs(path.name.removeprefix(_PREFIX).partition("-")[0]):
                shutil.rmtree(path, ignore_errors=True)


def _runs(pid: str) -> bool:
    if not pid.isdigit():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # of another user
    return True
