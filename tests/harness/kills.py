"""`python -m tests.harness.kills`: see the package. Every subject is new, so that each kill is judged separately."""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from core import log
from core.settings import Settings
from gateways.sandbox import SandboxGateway
from tests.engines import Postgres, Sqlite
from tests.harness.killed_process import Points, fork, measure
from tests.harness.ledger_comparison import Figures, compare, settle
from tests.harness.money_operations import OPERATIONS, Stage
from tests.stories.business_and_buyer import Site
from tests.stories.crash_and_restart import start


class Nothing:
    """The values that `start` needs of an application that never existed."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self.settings = settings
        self.gateway = SandboxGateway(folder / "sandbox.sqlite3", settings.base_url, "a secret for notifications")


def run(settings: Settings, folder: Path, kills: int, operations: list[str], seed: int) -> dict[str, Figures]:
    """Run until each operation has its share of `kills`. Raises AssertionError if the complete ledgers differ at the end."""
    chance, services = random.Random(seed), start(Nothing(settings, folder))
    site = Site.open(services)
    stage, figures = Stage(site), {name: Figures() for name in operations}
    for name in operations:
        points = _measured(services, stage, name)
        share = kills // len(operations) + (operations.index(name) < kills % len(operations))
        while figures[name].kills < share:
            act, (kind, number) = OPERATIONS[name](stage), points.pick(chance)
            died = fork(services, act.do, kind, number)
            figures[name].kills += died
            figures[name].lived += not died
            figures[name].kinds[kind] += died
            compare(site, act, figures[name], settle(site, act))
    site.balanced()
    services.database.dispose()
    return figures


def _measured(services: Any, stage: Stage, name: str) -> Points:
    """Return the points and the duration of one undisturbed run."""
    points = measure(services, OPERATIONS[name](stage).do)
    act, began = OPERATIONS[name](stage), time.monotonic()
    fork(services, act.do)
    points.seconds = time.monotonic() - began
    return points


@contextmanager
def database(engine: str) -> Iterator[tuple[Settings, Path]]:
    with tempfile.TemporaryDirectory() as where:
        folder = Path(where)
        made: Any = Sqlite(folder) if engine == "sqlite" else Postgres(folder)
        urls, drop = made.fresh()
        try:
            yield Settings(data_dir=folder, base_url="http://localhost", **urls), folder
        finally:
            drop()
            getattr(made, "close", lambda: None)()


def main(arguments: list[str] | None = None) -> int:
    words = argparse.ArgumentParser(prog="python -m tests.harness.kills", description=__doc__)
    words.add_argument("--kills", type=int, default=1000)
    words.add_argument("--engine", choices=["sqlite", "postgresql"], default="sqlite")
    words.add_argument("--operation", choices=list(OPERATIONS), action="append")
    words.add_argument("--seed", type=int, default=1)
    asked = words.parse_args(arguments)
    log.configure("CRITICAL")
    with database(asked.engine) as (settings, folder):
        began = time.monotonic()
        figures = run(settings, folder, asked.kills, asked.operation or list(OPERATIONS), asked.seed)
    for name, item in figures.items():
        where = ", ".join(f"{kind} {many}" for kind, many in sorted(item.kinds.items()))
        print(f"{asked.engine:10} {name:12} kills {item.kills:4}  doubled {item.doubled}  lost {item.lost}  stuck {item.stuck}   ({where})")
    print(
        f"{asked.engine:10} {sum(figure.kills for figure in figures.values())} kills in {time.monotonic() - began:.0f} s, seed {asked.seed}"
    )
    return 0 if all(figure.is_clean for figure in figures.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
