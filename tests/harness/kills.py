"""`python -m tests.harness.kills`: see the package. Every subject is new, so that each death is judged by itself."""

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
from tests.harness.acts import OPERATIONS, Stage
from tests.harness.books import Figures, compare, settle
from tests.harness.deaths import Points, fork, measure
from tests.stories.restart import start
from tests.stories.shop import Shop


class Nothing:
    """What `start` needs to know of a house that was never there."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self.settings = settings
        self.gateway = SandboxGateway(folder / "sandbox.sqlite3", settings.base_url, "a secret for notifications")


def run(settings: Settings, folder: Path, kills: int, operations: list[str], seed: int) -> dict[str, Figures]:
    """Until each operation saw its share of `kills`. Raises AssertionError where both books as a whole do not agree at the end."""
    chance, house = random.Random(seed), start(Nothing(settings, folder))
    shop = Shop.open(house)
    stage, figures = Stage(shop), {name: Figures() for name in operations}
    for name in operations:
        points = _measured(house, stage, name)
        share = kills // len(operations) + (operations.index(name) < kills % len(operations))
        while figures[name].kills < share:
            act, (kind, number) = OPERATIONS[name](stage), points.pick(chance)
            died = fork(house, act.do, kind, number)
            figures[name].kills += died
            figures[name].lived += not died
            figures[name].kinds[kind] += died
            compare(shop, act, figures[name], settle(shop, act))
    shop.balanced()
    house.database.dispose()
    return figures


def _measured(house: Any, stage: Stage, name: str) -> Points:
    """The points of one undisturbed run, and how long it takes without being counted."""
    points = measure(house, OPERATIONS[name](stage).do)
    act, began = OPERATIONS[name](stage), time.monotonic()
    fork(house, act.do)
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
    for name, one in figures.items():
        where = ", ".join(f"{kind} {many}" for kind, many in sorted(one.kinds.items()))
        print(f"{asked.engine:10} {name:12} kills {one.kills:4}  doubled {one.doubled}  lost {one.lost}  stuck {one.stuck}   ({where})")
    print(f"{asked.engine:10} {sum(one.kills for one in figures.values())} kills in {time.monotonic() - began:.0f} s, seed {asked.seed}")
    return 0 if all(one.is_clean for one in figures.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
