"""Checks of this machine: disk space."""

from __future__ import annotations

import shutil
from pathlib import Path

from core.checks import Finding, ok, wrong

LEAST_FREE, LEAST_SHARE = 2 * 10**9, 0.05  # bytes; of the disk


def disk(path: Path) -> list[Finding]:
    """Check free disk space. `path`: the data folder, which need not exist yet."""
    there = next(item for item in (path, *path.resolve().parents) if item.exists())
    usage = shutil.disk_usage(there)
    return [free_space(str(path), usage.total, usage.free)]


def free_space(name: str, total: int, free: int) -> Finding:
    text = f"{free / 10**9:.1f} of {total / 10**9:.1f} GB free"
    if free < LEAST_FREE or free < total * LEAST_SHARE:
        return wrong(f"disk of {name}", text, "free some space, or set PORTAL_DATA_DIR to another disk")
    return ok(f"disk of {name}", text)
