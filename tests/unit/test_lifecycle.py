"""Every (state, verb) of every table: it moves as written, or it is refused in words. Nothing else happens to a state."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from billing import lifecycle
from core.errors import Conflict

TABLES = {name: getattr(lifecycle, name) for name in ("SUBSCRIPTION", "INVOICE", "PAYMENT", "REFUND")}
STATES = {
    "SUBSCRIPTION": {"pending", "active", "on_hold", "paused", "past_due", "cancelled", "failed", "expired"},
    "INVOICE": {"open", "paid", "void"},
    "PAYMENT": {"processing", "requires_payment_method", "requires_customer_action", "succeeded", "failed", "cancelled"},
    "REFUND": {"pending", "succeeded", "failed"},
}
OVER = {"SUBSCRIPTION": {"cancelled", "failed", "expired"}, "INVOICE": {"void"}, "PAYMENT": {"succeeded"},
        "REFUND": {"succeeded", "failed"}}
MOVES = [(name, state, verb) for name, table in TABLES.items() for state in sorted(STATES[name]) for verb in sorted({v for _, v in table})]


@pytest.mark.parametrize(("name", "state", "verb"), MOVES)
def test_it_moves_as_written_or_is_refused(name: str, state: str, verb: str) -> None:
    table = TABLES[name]
    targets = table.get((state, verb))
    assert lifecycle.may(table, state, verb) == (targets is not None)
    if targets is None:
        with pytest.raises(Conflict) as refused:
            lifecycle.move(table, state, verb)
        assert refused.value.status == 409 and refused.value.sentence == "Its present state does not allow this."
        return
    assert lifecycle.move(table, state, verb) == targets[0]
    for target in STATES[name]:
        if target in targets:
            assert lifecycle.move(table, state, verb, target) == target
        else:
            with pytest.raises(Conflict):
                lifecycle.move(table, state, verb, target)


@pytest.mark.parametrize("name", TABLES)
def test_every_state_is_known_and_what_is_over_stays_over(name: str) -> None:
    table = TABLES[name]
    assert {state for state, _ in table} | {to for targets in table.values() for to in targets} <= STATES[name]
    assert not {state for state, _ in table} & OVER[name]


def test_cancelling_is_always_accepted_while_there_is_something_to_cancel() -> None:
    for state in lifecycle.LIVE:
        assert lifecycle.may(lifecycle.SUBSCRIPTION, state, "cancel")
        assert lifecycle.may(lifecycle.SUBSCRIPTION, state, "schedule_cancel") and lifecycle.may(lifecycle.SUBSCRIPTION, state, "keep")


def test_money_that_was_taken_beats_every_other_news() -> None:
    for state in STATES["PAYMENT"] - {"succeeded"}:
        assert lifecycle.move(lifecycle.PAYMENT, state, "succeed") == "succeeded"


def test_states_change_through_the_tables_only() -> None:
    """In billing/, a status is assigned from move(), or it is the first one of a new row (a keyword of its constructor)."""

    def moved(value: ast.expr) -> bool:
        return getattr(getattr(value, "func", None), "attr", "") == "move"

    wrong = []
    for path in Path(lifecycle.__file__).parent.rglob("*.py"):
        tree = ast.parse(path.read_text())
        kept = {one.targets[0].id for one in ast.walk(tree)
                if isinstance(one, ast.Assign) and isinstance(one.targets[0], ast.Name) and moved(one.value)}
        for node in ast.walk(tree):
            for target in getattr(node, "targets", []) if isinstance(node, ast.Assign) else []:
                names = target.elts if isinstance(target, ast.Tuple) else [target]
                values = node.value.elts if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple) else [node.value]
                for one, value in zip(names, values, strict=False):
                    if isinstance(one, ast.Attribute) and one.attr == "status" and getattr(one.value, "id", "") != "key":
                        if not moved(value) and getattr(value, "id", "") not in kept:
                            wrong.append(f"{path.name}:{node.lineno}")
    assert not wrong
