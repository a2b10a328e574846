"""Requests generated from the API's description: with a key, without one, and in chains of operations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.harness.schema_requests import CHECKS, World, twist, world

QUICK = {"database": None, "deadline": None, "suppress_health_check": list(HealthCheck), "phases": [Phase.generate]}


@pytest.fixture(scope="module")
def place(sqlite: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    urls, drop = sqlite.fresh()
    with world(urls, tmp_path_factory.mktemp("asked")) as item:
        yield item
    drop()


def test_every_operation_answers_as_described(place: World) -> None:
    """No 5xx, no undocumented status, no answer of another shape. Without a key only open routes answer."""
    statuses: Counter[int] = Counter()
    operations = [get_all_operation.ok() for get_all_operation in place.schema.get_all_operations()]
    assert len(operations) > 80
    for operation in operations:

        @seed(1)
        @settings(max_examples=2, **QUICK)
        @given(case=operation.as_strategy())
        def ask(case: Any) -> None:
            place.fill(case)
            bare = case.call()
            case.validate_response(bare, checks=CHECKS)
            is_open = case.operation.definition.raw.get("security") == []
            assert is_open or bare.status_code in (400, 401), (case.operation.label, bare.status_code)
            for _ in range(2):
                answer = case.call(headers=place.auth)
                case.validate_response(answer, checks=CHECKS, headers=place.auth)
                statuses[answer.status_code] += 1
                twist(case, place.chance)

        ask()
    assert statuses[200] > 80 and statuses[404] and statuses[422], statuses


def test_chained_operations_answer_as_described(place: World) -> None:
    """Created objects are read, changed, archived and deleted by the id in the answer."""
    machine = place.schema.as_state_machine()
    reached: Counter[str] = Counter()

    class Walk(machine):  # type: ignore[misc, valid-type]
        def get_call_kwargs(self, case: Any) -> dict[str, Any]:
            return {"headers": place.auth}

        def validate_response(self, response: Any, case: Any, **more: Any) -> None:
            reached[case.operation.label] += 1
            case.validate_response(response, checks=CHECKS, headers=place.auth)

    Walk.run(settings=settings(max_examples=8, stateful_step_count=12, derandomize=True, **QUICK))
    assert sum(reached.values()) > 20 and len(reached) > 10, reached
