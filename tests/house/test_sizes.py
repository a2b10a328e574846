"""Files, functions and template lines have length limits."""

from __future__ import annotations

import ast

from tests.house.test_rules import ROOMS, ROOT, files, nodes

FUNCTION, MODULE, TEMPLATE_LINE = 60, 250, 140  # lines, lines, characters
POSITIONAL = 6  # parameters


def test_modules_are_within_the_length_limit() -> None:
    long = [f"{name}: {length}" for name, source, _ in files(*ROOMS, "bench", "wsgi") if (length := len(source.splitlines())) > MODULE]
    assert not long, long


def test_functions_are_within_the_length_limit() -> None:
    long = []
    for name, _, tree in files(*ROOMS, "bench", "wsgi"):
        for node in nodes(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                if length > FUNCTION:
                    long.append(f"{name}: {node.name}: {length}")
    assert not long, long


def test_no_function_has_too_many_positional_parameters() -> None:
    long = []
    for name, _, tree in files(*ROOMS, "bench", "wsgi"):
        for node in nodes(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                named = [arg.arg for arg in (*node.args.posonlyargs, *node.args.args) if arg.arg not in ("self", "cls")]
                if len(named) > POSITIONAL:
                    long.append(f"{name}: {node.name}: {len(named)}")
    assert not long, long


def test_template_lines_are_within_the_length_limit() -> None:
    long = [
        f"{path.relative_to(ROOT)}:{number}: {len(line)}"
        for path in sorted((ROOT / "templates").rglob("*"))
        if path.is_file()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if len(line) > TEMPLATE_LINE
    ]
    assert not long, f"{len(long)}:\n" + "\n".join(long[:60])
