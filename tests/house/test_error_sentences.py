"""Error sentences shown on pages are marked for the catalogs where they are raised (`N_`, or `_` on a page)."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from core import errors
from core.errors import PortalError
from tests.house.test_rules import files, nodes

ERRORS = {name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, PortalError)}
ROOMS = ("billing", "auth", "portal", "unified")


def sentences(call: ast.Call) -> Iterator[ast.expr]:
    """Yield what the call of an error class shows: its second argument, `sentence`, and each value of `fields`."""
    yield from call.args[1:2]
    for keyword in call.keywords:
        if keyword.arg == "sentence":
            yield keyword.value
        elif keyword.arg == "fields" and isinstance(keyword.value, ast.Dict):
            yield from keyword.value.values


def unmarked(tree: ast.AST) -> list[str]:
    """Return sentences that are raised as plain text. A single word is a code."""
    return [
        value.value
        for node in nodes(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ERRORS
        for value in sentences(node)
        if isinstance(value, ast.Constant) and isinstance(value.value, str) and " " in value.value
    ]


def test_every_error_sentence_is_marked_for_translation() -> None:
    assert not [f"{name}: {sentence}" for name, _, tree in files(*ROOMS) for sentence in unmarked(tree)]


def test_the_check_finds_plain_sentences() -> None:
    assert unmarked(ast.parse('raise Conflict("CODE", "It is over.")')) == ["It is over."]
    assert unmarked(ast.parse('raise Invalid(fields={"name": "Enter a name."})')) == ["Enter a name."]
    assert not unmarked(ast.parse('raise Conflict("CODE", N_("It is over."))'))
