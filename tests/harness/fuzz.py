"""`python -m tests.harness.fuzz --calls 100000`: send that many generated API calls in this process and print the results."""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.engines import Sqlite
from tests.harness.schema_requests import CHECKS, World, twist, world

ROUND = 40  # generated requests of one operation in a row
TWISTS = 6  # times that each is sent: as generated, then with one change each


def run(place: World, calls: int, until: float, first_seed: int = 1) -> tuple[Counter[str], dict[str, str]]:
    """Return (calls by status, errors by their first line). Stops after `calls`, or at the monotonic instant `until`."""
    statuses: Counter[str] = Counter()
    wrong: dict[str, str] = {}
    operations = [get_all_operation.ok() for get_all_operation in place.schema.get_all_operations()]
    turn = first_seed
    while sum(statuses.values()) < calls and time.monotonic() < until:
        for operation in operations:
            if sum(statuses.values()) >= calls or time.monotonic() >= until:
                break
            _one(place, operation, turn, statuses, wrong)
        turn += 1
    return statuses, wrong


def _one(place: World, operation: Any, turn: int, statuses: Counter[str], wrong: dict[str, str]) -> None:
    @seed(turn)
    @settings(max_examples=ROUND, database=None, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy())
    def ask(case: Any) -> None:
        for again in range(TWISTS):
            place.fill(case)
            if again:
                twist(case, place.chance)
            headers = {} if place.chance.random() < 0.05 else place.auth
            answer = case.call(headers=headers)
            statuses[f"{answer.status_code}"] += 1
            try:
                case.validate_response(answer, checks=CHECKS, headers=headers)
            except (Exception, BaseExceptionGroup) as found:  # every kind of failure is a finding, and the run continues
                words = f"{operation.label}: {type(found).__name__}: {str(found)[:1500]}"
                wrong.setdefault(f"{operation.label} {answer.status_code} {str(found)[:60]}", words)

    try:
        ask()
    except (Exception, BaseExceptionGroup) as broke:  # a request that the description allows and nobody can send
        wrong.setdefault(f"{operation.label} not asked: {type(broke).__name__}", "".join(traceback.format_exception(broke))[-1500:])


def main() -> int:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--calls", type=int, default=10_000)
    asked.add_argument("--minutes", type=float, default=60)
    asked.add_argument("--seed", type=int, default=1)
    wanted = asked.parse_args()
    random.seed(wanted.seed)
    with tempfile.TemporaryDirectory() as folder:
        urls, _drop = Sqlite(Path(folder)).fresh()
        with world(urls, Path(folder)) as place:
            began = time.monotonic()
            statuses, wrong = run(place, wanted.calls, began + wanted.minutes * 60, wanted.seed)
            spent = time.monotonic() - began
    total = sum(statuses.values())
    print(f"{total} calls in {spent:.0f} s ({total / spent:.0f} a second); by status: {dict(sorted(statuses.items()))}")
    for words in wrong.values():
        print("-" * 100, words, sep="\n")
    print(f"{len(wrong)} findings")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
