"""`python -m tests.harness.stripe_kills`: the kills of `tests.harness.kills` with the Stripe adapter on the stand-in, and lost answers.

Before about every second operation, one of its calls is chosen to go wrong as well: it never arrives, its answer is lost, Stripe stores an
error 500 with or without the effect, or refuses too many requests. A refund of which Stripe stored an error without an effect is left out:
it stays unknown on purpose, until a person decides.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from core import log
from core.settings import Settings
from tests.harness.killed_process import Points, fork, measure
from tests.harness.kills import database
from tests.harness.ledger_comparison import Figures, compare, settle
from tests.harness.money_operations import OPERATIONS, Stage
from tests.harness.stripe_site import StripeSite, start
from tests.harness.stripe_standin import StandIn, running

TROUBLES = ("drop before", "drop", "500", "500 after", "429")
CHARGING = ("/payment_intents", "/confirm")


def run(
    settings: Settings, kills: int, operations: list[str], seed: int, report: Callable[[str, Figures], None] = lambda name, figures: None
) -> tuple[dict[str, Figures], Counter[str]]:
    """Run until each operation has its share of `kills`. Returns the figures, and how often which call went wrong.

    `report` gets the figures of each operation when it is done.
    """
    chance, troubles = random.Random(seed), Counter[str]()
    with running() as stand_in:
        services = start(settings, stand_in)
        site = StripeSite.open(services).connect()
        stage, figures = Stage(site), {name: Figures() for name in operations}
        for name in operations:
            points = _measured(services, stage, name)
            share = kills // len(operations) + (operations.index(name) < kills % len(operations))
            while figures[name].kills < share:
                act, (kind, number) = OPERATIONS[name](stage), points.pick(chance)
                trouble = _trouble(stand_in, chance, ("/refunds",) if name == "refund" else CHARGING)
                died = fork(services, act.do, kind, number)
                figures[name].kills += died
                figures[name].lived += not died
                figures[name].kinds[kind] += died
                compare(site, act, figures[name], settle(site, act))
                if trouble:
                    troubles[trouble] += not stand_in.forget_troubles()
            report(name, figures[name])
        site.balanced()
        assert stand_in.mistakes == []
        services.database.dispose()
    return figures, troubles


def _trouble(stand_in: StandIn, chance: random.Random, calls: tuple[str, ...]) -> str:
    """Choose a call that goes wrong, or none."""
    if chance.random() < 0.5:
        return ""
    ending, what = chance.choice(calls), chance.choice(TROUBLES)
    if ending == "/refunds" and what == "500":
        what = "500 after"
    stand_in.on_next("POST", ending, what)
    return f"{ending} {what}"


def _measured(services: Any, stage: Stage, name: str) -> Points:
    """Return the points and the duration of one undisturbed run."""
    points = measure(services, OPERATIONS[name](stage).do)
    act, began = OPERATIONS[name](stage), time.monotonic()
    fork(services, act.do)
    points.seconds = time.monotonic() - began
    return points


def main(arguments: list[str] | None = None) -> int:
    words = argparse.ArgumentParser(prog="python -m tests.harness.stripe_kills", description=__doc__)
    words.add_argument("--kills", type=int, default=1000)
    words.add_argument("--engine", choices=["sqlite", "postgresql"], default="sqlite")
    words.add_argument("--operation", choices=list(OPERATIONS), action="append")
    words.add_argument("--seed", type=int, default=1)
    asked = words.parse_args(arguments)
    log.configure("CRITICAL")
    with database(asked.engine) as (settings, _):
        began = time.monotonic()
        figures, troubles = run(for_loopback(settings), asked.kills, asked.operation or list(OPERATIONS), asked.seed, _print)
    print("calls that went wrong: " + ", ".join(f"{name} {many}" for name, many in sorted(troubles.items())))
    total = sum(figure.kills for figure in figures.values())
    print(f"{asked.engine:10} {total} kills in {time.monotonic() - began:.0f} s, seed {asked.seed}")
    return 0 if all(figure.is_clean for figure in figures.values()) else 1


def _print(name: str, item: Figures) -> None:
    where = ", ".join(f"{kind} {many}" for kind, many in sorted(item.kinds.items()))
    print(f"{name:12} kills {item.kills:4}  doubled {item.doubled}  lost {item.lost}  stuck {item.stuck}   ({where})", flush=True)


def for_loopback(settings: Settings) -> Settings:
    """Return the settings with the permission to call the stand-in."""
    return replace(settings, outgoing_loopback=True)


if __name__ == "__main__":
    sys.exit(main())
