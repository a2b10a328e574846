"""Modules of a package do not import each other in a circle, function-level imports included."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.house.import_graph import cycles, import_graph

PACKAGES = ("core", "billing", "auth", "portal", "tenants", "unified", "gateways")

# The pages of these packages register themselves on the blueprint that the package defines, so the package and its pages are one cycle.
PAGES = {"portal", "unified"}


@pytest.mark.parametrize("package", PACKAGES)
def test_modules_do_not_import_each_other_in_a_circle(package: str) -> None:
    graph = import_graph(package)
    if package in PAGES:
        graph[package] = set()
    assert cycles(graph) == set()


def test_function_level_imports_count_and_type_checking_imports_do_not(tmp_path: Path) -> None:
    sources = {
        "__init__": "",
        "first": "def call():\n    from room import second\n",
        "second": "from room.third import value\n",
        "third": "from . import first\n",
        "fourth": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from room.fifth import Name\n",
        "fifth": "import room.fourth\n",
    }
    (tmp_path / "room").mkdir()
    for name, text in sources.items():
        (tmp_path / "room" / f"{name}.py").write_text(text)

    assert cycles(import_graph("room", tmp_path)) == {frozenset({"room.first", "room.second", "room.third"})}
