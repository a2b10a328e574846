"""Documentation for operators: every step has a check, links resolve, and commands exist."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import Any

import click
import pytest
from flask import Flask

from core.settings import Settings
from tests.deploy import ROOT

RUNBOOK = ROOT / "docs/self-hosting.md"
ALL = [*(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")), *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.fixture(scope="module")
def app(sqlite: Any, tmp_path_factory: pytest.TempPathFactory) -> Flask:
    from wsgi import create_app

    urls, _ = sqlite.fresh()
    return create_app(Settings(data_dir=tmp_path_factory.mktemp("runbook"), **urls))


@lru_cache
def anchors(path: Path) -> frozenset[str]:
    """Return the anchors that GitHub generates from headings."""
    text = re.sub(r"^```.*?^```", "", path.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    return frozenset(
        re.sub(r"[^\w\- ]", "", item.lower()).strip().replace(" ", "-") for item in re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    )


def test_runbook_steps_are_there() -> None:
    """Each step of the table is a section, in order, with a check and its expected output."""
    text = RUNBOOK.read_text("utf-8")
    steps = re.findall(r"^\| \[(\d\. [^\]]+)\]\(#([\w-]+)\)", text, re.MULTILINE)
    sections = re.findall(r"^## (\d\. .*)$", text, re.MULTILINE)
    assert [title for title, _ in steps] == sections and len(steps) == 9
    for title, anchor in steps:
        assert anchor in anchors(RUNBOOK)
        section = text.split(f"\n## {title}\n")[1].split("\n## ")[0]
        assert "**Check.**" in section and ("```" in section or "portal_" in section), title


def test_links_in_the_documentation_resolve() -> None:
    wrong, seen = [], 0
    for path in ALL:
        for target in re.findall(r"\]\((?!https?:|mailto:)([^)\s]+)\)", path.read_text("utf-8")):
            name, _, anchor = target.partition("#")
            there = (path.parent / name).resolve() if name else path
            seen += 1
            if not there.exists() or (anchor and there.suffix == ".md" and anchor not in anchors(there)):
                wrong.append(f"{path.relative_to(ROOT)}: {target}")
    assert seen > 60 and not wrong


def test_commands_in_the_documentation_exist(app: Flask) -> None:
    wrong, seen = [], 0
    for path in ALL:
        for found in re.findall(r"flask --app wsgi ((?:[\w-]+ ?)+)", path.read_text("utf-8")):
            group: Any = app.cli
            for word in found.split():
                if not isinstance(group, click.Group):
                    break
                seen += 1
                if word not in group.commands:
                    wrong.append(f"{path.name}: {found}")
                    break
                group = group.commands[word]
    assert seen > 30 and not wrong


def test_settings_in_the_documentation_exist() -> None:
    sources = "".join((ROOT / name).read_text("utf-8") for name in ("core/settings.py", "core/legal_settings.py"))
    known = set(re.findall(r'(?:\bget(?:\(|, )|\.upper\(\), )"([A-Z_]+)"', sources))
    used = {
        name
        for path in [RUNBOOK, *(ROOT / "docs/operations").glob("*.md")]
        for name in re.findall(r"\b((?:PORTAL|DATABASE|MAIL)_[A-Z_]+)=?", path.read_text("utf-8"))
    }
    of_deploy = {"PORTAL_HOST", "PORTAL_WEB", "PORTAL_PRIMARY_HOST", "PORTAL_REPLICATION_PASSWORD", "PORTAL_REPLICA_URL", "PORTAL_VERSION"}
    assert used - of_deploy <= known


def test_the_documentation_has_no_placeholders() -> None:
    """Placeholders are HTML comments. They are allowed only inside fenced code."""
    left = [path.name for path in ALL if "<!--" in re.sub(r"^```.*?^```", "", path.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)]
    assert not left
