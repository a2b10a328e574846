"""`make test` must pass on a new machine. These tests check the requirements that files can show."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def stub(folder: Path, name: str, body: str) -> None:
    """Create a program in `folder` that replaces the system's."""
    path = folder / name
    path.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
    path.chmod(0o755)


def test_ci_runs_the_readme_command_in_the_clean_room(tmp_path: Path) -> None:
    """`.ci/run` runs all tests in a clean room and returns their exit code. Without one, it runs the same commands directly."""
    (tmp_path / ".ci").mkdir()
    (tmp_path / "bin").mkdir()
    (tmp_path / ".ci/run").write_bytes((ROOT / ".ci/run").read_bytes())
    stub(tmp_path / "bin", "make", 'echo "make $*"')
    path = {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}

    def run(clean_room: str) -> tuple[int, list[str]]:
        stub(tmp_path / "bin", "clean-room", clean_room)
        done = subprocess.run(["bash", tmp_path / ".ci/run"], capture_output=True, text=True, env=path)
        return done.returncode, done.stdout.split("\n")[:-1]

    assert run('echo "clean-room $*"') == (0, ["clean-room --prepare", "clean-room make test && make test-processors"])
    assert run('[ "$1" = --prepare ]') == (1, []), "a failure inside must not be hidden by a second run outside"
    assert run("exit 1") == (0, ["make test", "make test-processors"])
    for failing, ran in (("test", 1), ("test-processors", 2)):
        stub(tmp_path / "bin", "make", f'echo "make $*"; [ "$1" != {failing} ]')
        code, lines = run("exit 1")
        assert code != 0 and len(lines) == ran, failing


@pytest.mark.parametrize(
    ("fake", "code", "said"),
    [
        ("echo 'The third-party fake of Stripe cannot be started here: no network.'; exit 3", 0, "no network"),
        ("echo 'Traceback'; exit 1", 0, "Traceback"),
        ('exec python3 -m http.server "$2" --bind 127.0.0.1', 4, ""),
    ],
)
def test_processor_tests_that_cannot_run_are_named_and_failures_count(tmp_path: Path, fake: str, code: int, said: str) -> None:
    """Without the fake, one line says NOT RUN and why. With it, the exit code is that of the tests (4: there are none in this folder)."""
    (tmp_path / "bin").mkdir()
    (tmp_path / ".venv/bin").mkdir(parents=True)
    (tmp_path / "bin/test-processors").write_bytes((ROOT / "bin/test-processors").read_bytes())
    stub(tmp_path / "bin", "stripe-fake", fake)
    stub(tmp_path / ".venv/bin", "python", f'exec "{sys.executable}" "$@"')
    environment = {name: value for name, value in os.environ.items() if name != "STRIPE_TEST_KEY"}
    done = subprocess.run(["bash", tmp_path / "bin/test-processors"], capture_output=True, text=True, env=environment, timeout=60)
    lines = [line for line in done.stdout.splitlines() if line.startswith("NOT RUN: the third-party fake")]
    assert (done.returncode, len(lines)) == (code, 1 if said else 0) and (not said or said in lines[0])


def test_browsers_are_launched_in_one_place() -> None:
    """A test that starts its own browser finds one only on machines that were used before."""
    own = re.compile(r"executable_path=|\bwhich\([\"'](?:chromium|google-chrome)|\.chromium\.launch\(")
    found = [
        path.relative_to(ROOT).as_posix()
        for path in sorted((ROOT / "tests").rglob("*.py"))
        if path != Path(__file__) and "node_modules" not in path.parts and own.search(path.read_text(encoding="utf-8"))
    ]
    assert found == ["tests/browser/conftest.py"]


@pytest.mark.parametrize(
    ("chromium", "driver", "said"),
    [(True, True, None), (False, True, "Chromium"), (True, False, "libatomic1"), (False, False, "libatomic1")],
)
def test_missing_browser_requirements_are_reported_in_one_sentence(tmp_path: Path, chromium: bool, driver: bool, said: str | None) -> None:
    """Without the right to install packages, the missing ones are named. If none is missing, nothing is printed."""
    (tmp_path / "bin").mkdir()
    (tmp_path / ".venv/bin").mkdir(parents=True)
    (tmp_path / "bin/browser").write_bytes((ROOT / "bin/browser").read_bytes())
    stub(tmp_path / "bin", "node", f"exit {0 if driver else 127}")
    stub(tmp_path / ".venv/bin", "python", f'echo "{tmp_path / "bin/node"}"')
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("dirname", "bash", "sh", "env"):
        (tools / name).symlink_to(Path("/usr/bin") / name)
    stub(tools, "id", "echo 1000")
    if chromium:
        stub(tools, "chromium-headless-shell", "exit 0")
    done = subprocess.run(["/usr/bin/bash", tmp_path / "bin/browser"], capture_output=True, text=True, env={"PATH": str(tools)})
    assert (done.returncode == 0) == (said is None)
    if said:
        assert said in done.stdout and done.stdout.count("\n") == 1
