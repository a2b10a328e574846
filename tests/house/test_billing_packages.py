"""Each package of `billing` has one job, described in one sentence, is in the architecture guide, and imports only downwards.

The order of the packages is the contract `billing` in setup.cfg; its linter sees imports inside functions as well.
"""

from __future__ import annotations

import ast
import configparser

import pytest

from tests.house.test_rules import ROOT

PACKAGES = sorted(path.parent.name for path in (ROOT / "billing").glob("*/__init__.py"))


def test_the_contract_orders_every_package() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    contract = config["importlinter:contract:billing"]
    ordered = contract["layers"].replace("|", " ").replace(":", " ").split()
    assert sorted(ordered) == sorted([*PACKAGES, "metrics"]) and contract["exhaustive"] == "True"


@pytest.mark.parametrize("name", PACKAGES)
def test_every_package_describes_its_job_in_one_sentence(name: str) -> None:
    words = ast.get_docstring(ast.parse((ROOT / "billing" / name / "__init__.py").read_text(encoding="utf-8")))
    assert words and "\n\n" not in words and words.count(". ") == 0 and words.endswith("."), words


@pytest.mark.parametrize("name", PACKAGES)
def test_the_architecture_guide_names_the_package(name: str) -> None:
    assert f"`billing/{name}/`" in (ROOT / "docs/architecture.md").read_text(encoding="utf-8")


def test_only_the_metrics_module_is_outside_the_packages() -> None:
    assert {path.name for path in (ROOT / "billing").glob("*.py")} == {"__init__.py", "metrics.py"}
