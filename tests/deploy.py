"""Read the files of deploy/, Dockerfile and compose.yaml for tests."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
DEPLOY = ROOT / "deploy"
EXAMPLE = DEPLOY / "portal.env.example"
UNITS = sorted((DEPLOY / "systemd").iterdir())
PASSWORD = "0f0f0f"
WITHOUT_COMPOSE = {
    "PORTAL_BASE_URL",
    "PORTAL_TRUSTED_PROXIES",
    "PORTAL_WORKER",
    "DATABASE_URL",
    "DATABASE_PREPARE_THRESHOLD",
    "DATABASE_REPLICA_URL",
}


def variables() -> dict[str, str]:
    """deploy/compose/env.example with its variables filled in."""
    found = dict(re.findall(r"^(\w+)=(.*)$", (DEPLOY / "compose/env.example").read_text("utf-8"), re.MULTILINE))
    return {name: value or (PASSWORD if name.endswith("PASSWORD") else "") for name, value in found.items()}


def example() -> dict[str, str]:
    """deploy/portal.env.example with its secrets filled in."""
    found = dict(re.findall(r"^(\w+)=(.*)$", EXAMPLE.read_text("utf-8"), re.MULTILINE))
    return {**found, "SECRET_KEY": "s" * 64, "PORTAL_OPERATOR_SECRET": "o" * 64}


def compose() -> dict[str, Any]:
    """compose.yaml with its variables filled in."""
    given = variables()
    text = re.sub(r"\$\{(\w+)(?::[-?][^}]*)?\}", lambda found: given[found[1]], (ROOT / "compose.yaml").read_text("utf-8"))
    parsed: dict[str, Any] = yaml.safe_load(text)
    for service in parsed["services"].values():
        service["environment"] = {name: "" if value is None else str(value) for name, value in service.get("environment", {}).items()}
    return parsed


def context(folder: Path) -> None:
    """Copy the files that .dockerignore includes in the image."""
    folder.mkdir()
    lines = [line for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines() if line and not line.startswith("#")]
    assert lines[0] == "*"
    left_out = shutil.ignore_patterns(*(line.removeprefix("**/") for line in lines if line.startswith("**/")))
    for name in (line[1:] for line in lines if line.startswith("!")):
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=left_out)
        else:
            shutil.copyfile(ROOT / name, folder / name)


def unit(path: Path) -> dict[str, dict[str, list[str]]]:
    """Map section → key → values. A key may occur more than once (systemd.syntax(7))."""
    found: dict[str, dict[str, list[str]]] = {}
    section: dict[str, list[str]] = {}
    for line in path.read_text("utf-8").splitlines():
        if line.startswith("["):
            section = found.setdefault(line.strip("[]"), {})
        elif line and line[0] not in "#;":
            key, _, value = line.partition("=")
            section.setdefault(key, []).append(value)
    return found
