"""The examples of docs/merchants/portal-sessions.md run against a real server."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.providers import node

PAGE = (Path(__file__).resolve().parents[2] / "docs/merchants/portal-sessions.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)[0]


def test_portal_session_examples_run_in_python_and_javascript(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTAL_API_KEY", site.key)
    monkeypatch.setenv("PORTAL_URL", site.url)
    ada = site.sdk().customers.create(email="ada@marlow.example", name="Ada Marlow").customer_id
    room: dict[str, Any] = {}
    exec(block("python"), room)
    links = [room["portal_link"](ada)]
    script = block("javascript") + "\nportalLink(process.argv[1]).then(console.log, (e) => { console.error(e.message); process.exit(1) });"
    done = subprocess.run([node(), "-e", script, ada], capture_output=True, text=True, timeout=30, env=os.environ)
    assert done.returncode == 0, done.stderr
    links.append(done.stdout.strip())
    assert len(set(links)) == 2
    for link in links:
        assert link.startswith(f"{site.url}/session/") and httpx.get(link).status_code == 200
    nobody = subprocess.run([node(), "-e", script, "cus_nobody"], capture_output=True, text=True, timeout=30, env=os.environ)
    assert nobody.returncode == 1 and nobody.stderr.startswith("404")
