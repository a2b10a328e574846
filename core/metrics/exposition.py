"""Write the metrics in the text format of Prometheus."""

from __future__ import annotations

import hmac
import platform
import shutil
import struct
import time
import tomllib
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector

from core import revisions
from core.metrics import multiprocess
from core.metrics.instruments import LANE_SLOTS, REGISTRY
from core.metrics.snapshot import gauge
from core.metrics.timing import measure_pools

if TYPE_CHECKING:
    from core.services import Services
    from core.settings import Settings

CONTENT_TYPE = CONTENT_TYPE_LATEST
ATTEMPTS = 5  # to read the files of all processes of this server


def scrape(services: Services) -> bytes:
    """Return the metrics. Does not raise if the database, the replica or the disk is unavailable."""
    measure_pools()
    for lanes in services.worker.lanes if services.worker else ():
        LANE_SLOTS.labels(lanes.name).set(lanes.slots)
    now = CollectorRegistry(auto_describe=False)
    ProcessCollector(registry=now)
    now.register(_Now(services))
    current = generate_latest(now)
    return _counted() + current


def _counted() -> bytes:
    path = multiprocess.folder()
    if path is None:
        return generate_latest(REGISTRY)
    shared = CollectorRegistry()
    MultiProcessCollector(shared, path)  # type: ignore[no-untyped-call]
    with multiprocess.reading(path):
        for left in range(ATTEMPTS, 0, -1):
            try:
                return generate_latest(shared)
            except (struct.error, ValueError, RuntimeError):  # a starting process has created its file but not written it yet
                if left == 1:
                    raise
                time.sleep(0.05)
    raise AssertionError("unreachable")


def knows_secret(settings: Settings, authorization: str) -> bool:
    """Check `Authorization: Bearer <PORTAL_OPERATOR_SECRET>` (RFC 6750 §2.1)."""
    kind, _, shown = authorization.partition(" ")
    return (
        bool(settings.operator_secret)
        and kind.lower() == "bearer"
        and hmac.compare_digest(shown.strip().encode(), settings.operator_secret.encode())
    )


class _Now:
    """Metrics that are read at the time of a scrape."""

    def __init__(self, services: Services) -> None:
        self.services = services

    def collect(self) -> Iterator[Metric]:
        yield from self._about()
        yield from self._disk()
        yield from self._replica()
        if self.services.metrics is not None:
            yield from self.services.metrics.collect()

    def _about(self) -> Iterator[Metric]:
        labels = (version(), self.services.settings.mode, ",".join(sorted(revisions.newest())), platform.python_version())
        yield gauge("portal_build_info", "Versions of this process; always 1", {labels: 1}, "version", "mode", "schema", "python")

    def _disk(self) -> Iterator[Metric]:
        try:
            usage = shutil.disk_usage(self.services.settings.data_dir)
        except OSError:
            return
        yield gauge("portal_disk_free_bytes", "Free space where the data directory is", {(): usage.free})
        yield gauge("portal_disk_size_bytes", "Size of the disk where the data directory is", {(): usage.total})

    def _replica(self) -> Iterator[Metric]:
        replica: Any = self.services.database.replica
        if replica is None:
            return
        up = replica.usable()
        yield gauge("portal_replica_up", "1 while pages read from the replica", {(): float(up)})
        yield gauge(
            "portal_replica_lag_seconds",
            "Lag of the replica; NaN while it does not answer",
            {(): float("nan") if replica.lag is None else replica.lag},
        )


@lru_cache(maxsize=1)
def version() -> str:
    """Return the version from pyproject.toml, because a package installed by `pip` may be older."""
    file = Path(__file__).resolve().parents[2] / "pyproject.toml"
    try:
        return str(tomllib.loads(file.read_text(encoding="utf-8"))["project"]["version"])
    except (OSError, KeyError, ValueError):
        return "unknown"
