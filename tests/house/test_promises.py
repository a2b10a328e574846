"""Every table of promises in the documentation names the tests that check it, and these tests exist.

A table has a column `test`, or the line below it names its tests: `Tests, row by row:` with one part (`;`) for each row, or `Tests of
every row:` where one test checks all of them.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import pytest

from tests.house.test_rules import ROOT, nodes, parsed

REFERENCE = {  # (file, header) → why it promises nothing
    ("docs/architecture.md", "question | where"): "where things are in the source",
    (
        "docs/glossary.md",
        "concept | in code | on pages and in emails | in the API (table)",
    ): "names, checked by tests/house/test_docs_paths.py",
    ("docs/languages.md", "what | where"): "where text is in the source",
    (
        "docs/rights.md",
        "where | for | without signing in | on one page | staff answer within | source | checked",
    ): "what laws say; what the portal does is in docs/merchants/customers.md",
    ("docs/rights.md", "where | language | link to the page | button |"): "checked by tests/house/test_rights.py",
    ("docs/customer-api.md", "token | opens | made by | ends"): "checked by tests/stories/test_customer_api.py",
    ("docs/customer-api.md", "call |"): "a list of calls, which tests/stories/test_customer_api.py makes",
    (
        "docs/rights.md",
        "where | for | right | period | ends on a working day | refund within | used time | digital content | source | checked",
    ): "what laws say; what the portal does is in docs/merchants/customers.md",
    ("docs/rights.md", "where | language | first control | second control |"): "checked by tests/house/test_rights.py",
    ("docs/rights.md", "where | for | kept for | after the end of a subscription | source | checked"): "what laws say",
    (
        "docs/rights.md",
        "where | for | period | how often | earliest | sent | latest | demanded by law | says | source | checked",
    ): "checked by tests/house/test_rights.py and tests/stories/test_notice_calendar.py",
    ("docs/api.md", "| cases"): "measured by the harness that the text names",
}
BY_ROW, OF_ALL = "Tests, row by row:", "Tests of every row:"


@dataclass
class Table:
    file: str
    header: list[str]
    rows: list[list[str]] = field(default_factory=list)
    below: str = ""

    @property
    def name(self) -> str:
        return f"{self.file}: {' | '.join(self.header)}"


def tables(file: str, text: str) -> list[Table]:
    found, lines = [], text.splitlines()
    for n, line in enumerate(lines):
        if re.fullmatch(r"\|[\s:|-]+\|", line) and n and lines[n - 1].startswith("|"):
            table = Table(file, _cells(lines[n - 1]))
            rest = n + 1
            while rest < len(lines) and lines[rest].startswith("|"):
                table.rows.append(_cells(lines[rest]))
                rest += 1
            while rest < len(lines) and not lines[rest].strip():
                rest += 1
            while rest < len(lines) and lines[rest].strip():  # the paragraph below
                table.below += lines[rest] + " "
                rest += 1
            found.append(table)
    return found


def _cells(line: str) -> list[str]:
    return [part.strip() for part in re.sub(r"\\\|", "/", line).strip().strip("|").split("|")]


@lru_cache(maxsize=1)
def known() -> frozenset[str]:
    """Return the names of tests and of test files."""
    names: set[str] = set()
    for path in (ROOT / "tests").rglob("*.py"):
        names.add(path.relative_to(ROOT).as_posix())
        _, tree = parsed(path)
        names |= {
            item.name for item in nodes(tree) if isinstance(item, ast.FunctionDef) and item.name.startswith("test_") and may_fail(item)
        }
    return frozenset(names)


def may_fail(test: ast.FunctionDef) -> bool:
    """Whether a test can fail: it is not skipped or expected to fail, and calls or asserts something."""
    if any(word in ast.unparse(mark) for mark in test.decorator_list for word in ("mark.skip(", "mark.xfail")):
        return False
    return any(isinstance(item, ast.Assert | ast.Call) for statement in test.body for item in ast.walk(statement))


def named(text: str) -> list[str]:
    return re.findall(r"`((?:tests/)?[\w/]*test_\w+(?:\.py)?)`", text)


def wrong_with(table: Table) -> list[str]:
    """Return what is missing: a test for a row, or a named test that does not exist."""
    if table.header[-1] == "test":  # "test | live" is a table of modes
        place = len(table.header) - 1
        parts = [row[place] if len(row) > place else "" for row in table.rows]
        parts = [item for item, row in zip(parts, table.rows, strict=True) if item or "not offered" not in row]
    elif table.below.startswith(BY_ROW):
        parts = table.below.removeprefix(BY_ROW).split(";")
        if len(parts) != len(table.rows):
            return [f"{len(table.rows)} rows, {len(parts)} parts"]
    elif table.below.startswith(OF_ALL):
        parts = [table.below]
    else:
        return ["no tests are named"]
    missing = [f"nothing in {part.strip()[:60]!r}" for part in parts if not named(part)]
    return missing + [f"there is no {item}" for part in parts for item in named(part) if item not in known()]


ALL = [
    item for path in sorted((ROOT / "docs").rglob("*.md")) for item in tables(path.relative_to(ROOT).as_posix(), path.read_text("utf-8"))
]


@pytest.mark.parametrize("table", ALL, ids=lambda item: item.name)
def test_every_promise_names_the_test_that_holds_it(table: Table) -> None:
    if (table.file, " | ".join(table.header).strip()) in REFERENCE:
        return
    assert not wrong_with(table)


def test_tables_that_promise_nothing_are_still_there() -> None:
    assert len(ALL) > 15 and set(REFERENCE) <= {(item.file, " | ".join(item.header).strip()) for item in ALL}


@pytest.mark.parametrize(("below", "fault"), [
    ("", "no tests are named"), ("Tests, row by row: `test_every_message_is_translated`.", "2 rows, 1 parts"),
    ("Tests, row by row: `test_every_message_is_translated`; soon.", "nothing in 'soon.'"),
    ("Tests of every row: `test_that_nobody_wrote`.", "there is no test_that_nobody_wrote"),
    ("Tests of every row: `test_every_message_is_translated`.", ""),
])  # fmt: skip
def test_the_check_finds_what_is_missing(below: str, fault: str) -> None:
    [table] = tables("a.md", f"| what | then |\n|---|---|\n| a | b |\n| c | d |\n\n{below}\n")
    assert wrong_with(table) == ([fault] if fault else [])
    [table] = tables("a.md", "| what | test |\n|---|---|\n| a | `tests/house/test_rules.py` |\n| c | |\n")
    assert wrong_with(table) == ["nothing in ''"]


@pytest.mark.parametrize(("source", "may"), [
    ("def test_a(): assert 1 == 2", True), ("def test_a(x): x.holds()", True), ("def test_a(): pass", False),
    ("def test_a():\n 'It holds.'", False), ("@pytest.mark.skip(reason='later')\ndef test_a(): assert x", False),
    ("@pytest.mark.xfail\ndef test_a(): assert x", False),
])  # fmt: skip
def test_a_test_that_cannot_fail_holds_no_promise(source: str, may: bool) -> None:
    assert may_fail(ast.parse(source).body[0]) is may  # type: ignore[arg-type]


def test_paths_named_in_tests_are_files() -> None:
    assert all(Path(ROOT / item).is_file() for item in known() if item.endswith(".py"))
