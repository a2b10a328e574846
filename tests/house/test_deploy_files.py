"""Dockerfile, compose.yaml, units and examples match the code: settings, commands, paths, versions, limits.

No container engine and no systemd runs here. tests/serving/test_deploy_programs.py gives the same files to the programs that read them.
"""

from __future__ import annotations

import getpass
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from dockerfile_parse import DockerfileParser
from flask import Flask

from core.serving import KILL_AFTER
from core.settings import Settings
from core.worker import LAST_EMAIL
from tests.deploy import DEPLOY, EXAMPLE, ROOT, UNITS, WITHOUT_COMPOSE, compose, context, example, unit

PORTAL = ("web-1", "web-2", "worker-1", "worker-2", "upgrade", "backup")
ONE_SHOT = ("upgrade", "backup")
LAST_JOB = 10  # seconds that a worker waits for a recurring job at its end


@pytest.fixture(scope="module")
def app(sqlite: Any, tmp_path_factory: pytest.TempPathFactory) -> Flask:
    from wsgi import create_app

    urls, _ = sqlite.fresh()
    return create_app(Settings(data_dir=tmp_path_factory.mktemp("deploy"), **urls))


def settings_known() -> set[str]:
    text = (ROOT / "core/settings.py").read_text(encoding="utf-8")
    return set(re.findall(r'(?:\bget(?:\(|, )|\.upper\(\), )"([A-Z_]+)"', text))


def check_command(app: Flask, words: list[str]) -> None:
    """Check that the command exists and accepts these options. Raises click.UsageError."""
    try:
        app.cli.commands[words[0]].make_context(words[0], words[1:])
    except click.exceptions.Exit:  # --help
        pass


def dockerfile(path: str = "Dockerfile") -> list[dict[str, Any]]:
    parsed = DockerfileParser(fileobj=(ROOT / path).open("rb+"))
    structure: list[dict[str, Any]] = parsed.structure
    return structure


def last_stage(path: str = "Dockerfile") -> dict[str, list[str]]:
    lines = dockerfile(path)
    begin = max(n for n, line in enumerate(lines) if line["instruction"] == "FROM")
    found: dict[str, list[str]] = {}
    for line in lines[begin:]:
        found.setdefault(line["instruction"], []).append(line["value"])
    return found


def seconds(text: str) -> int:
    number, unit_ = re.fullmatch(r"(\d+)(s|m|min)?", text).groups()  # type: ignore[union-attr]
    return int(number) * (60 if unit_ in ("m", "min") else 1)


def test_the_example_settings_start_live_mode() -> None:
    """Every name is a setting, and with the secrets filled in the settings are accepted."""
    given = example()
    assert set(given) <= settings_known()
    settings = Settings.from_env(given)
    assert (settings.mode, settings.worker, settings.trusted_proxies.count) == ("live", "off", 1)
    with pytest.raises(click.ClickException, match="SECRET_KEY"):
        Settings.from_env({**given, "SECRET_KEY": ""})


@pytest.mark.parametrize("name", PORTAL)
def test_compose_services_are_those_of_the_portal(name: str, app: Flask) -> None:
    """Commands and settings exist, and each role's password is passed only to the service that needs it."""
    service = compose()["services"][name]
    own = service["environment"]
    assert set(own) <= settings_known()
    Settings.from_env({**example(), **own})
    check_command(app, service["command"])
    assert ("DATABASE_OWNER_URL" in own) == (name == "upgrade") and ("DATABASE_BACKUP_URL" in own) == (name == "backup")
    assert own["PORTAL_WORKER"] == "off", "workers are services of their own"
    if name.startswith("worker-"):
        port = own["PORTAL_METRICS_LISTEN"].rpartition(":")[2]
        assert f"http://127.0.0.1:{port}/healthz" in service["healthcheck"]["test"][-1]
        assert seconds(service["stop_grace_period"]) > LAST_EMAIL + LAST_JOB
    if name not in ONE_SHOT:
        assert service["depends_on"]["upgrade"] == {"condition": "service_completed_successfully"}
        assert service["restart"] == "unless-stopped" and seconds(service["stop_grace_period"]) > KILL_AFTER
    else:
        assert service["restart"] == "no"


def test_every_container_has_only_what_it_needs() -> None:
    parsed = compose()
    for name, service in parsed["services"].items():
        assert service["read_only"] is True and service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"] and service["restart"], name
        assert set(service.get("cap_add", [])) <= {"NET_BIND_SERVICE"} and not service.get("privileged"), name
        assert "healthcheck" in service or name.startswith("web-"), f"{name}: the image checks the web processes"
        assert ("ports" in service) == (name == "proxy"), "only the proxy is reached from outside"
        for mount in service.get("volumes", []):
            source = mount.split(":")[0]
            assert source in parsed["volumes"] or source == "./backups" or (ROOT / source).is_file(), mount
        for needed in service.get("depends_on", {}):
            assert needed in parsed["services"]
    assert parsed["networks"]["inside"] == {"internal": True}
    assert parsed["services"]["postgres"]["networks"] == ["inside"] and parsed["services"]["replica"]["profiles"] == ["replica"]


def test_every_variable_of_compose_is_in_its_example() -> None:
    used = set(re.findall(r"\$\{(\w+)", (ROOT / "compose.yaml").read_text("utf-8")))
    assert used == set(re.findall(r"^(\w+)=", (DEPLOY / "compose/env.example").read_text("utf-8"), re.MULTILINE))


def test_the_image_runs_unprivileged_and_without_tools(app: Flask) -> None:
    lines, last = dockerfile(), last_stage()
    bases = [line["value"].split()[0] for line in lines if line["instruction"] == "FROM"]
    assert len(bases) == 2 and all(re.search(r":[\w.-]*\d", base) and not base.endswith("latest") for base in bases)
    assert last["USER"] == ["10001"] and not re.search(r"gcc|build-essential|pip install|-dev\b|curl|git", " ".join(last["RUN"]))
    assert "pip uninstall" in " ".join(last["RUN"])
    build = " ".join(line["value"] for line in lines if line["instruction"] == "RUN")
    assert "--require-hashes -r requirements.txt" in build and "--only-binary :all:" in build
    path = re.search(r"http://127\.0\.0\.1:5000(/\w+)", last["HEALTHCHECK"][0])
    assert path and path[1] in {rule.rule for rule in app.url_map.iter_rules()}
    check_command(app, yaml.safe_load(last["CMD"][0]))
    assert last_stage("deploy/pgbouncer/Dockerfile")["USER"] == ["65534"]


def test_the_image_holds_only_what_the_portal_needs(sqlite: Any, tmp_path: Path) -> None:
    """The files that .dockerignore includes are a complete application with its commands and migrations."""
    context(tmp_path / "context")
    there = {item.name for item in (tmp_path / "context").iterdir()}
    assert not there & {".git", ".env", "var", "tests", "docs", "bench", "deploy", ".venv"}
    urls, drop = sqlite.fresh()
    done = subprocess.run(
        [sys.executable, "-m", "flask", "--app", "wsgi", "domains"],
        cwd=tmp_path / "context",
        capture_output=True,
        text=True,
        env={"PATH": "/usr/bin:/bin", "PORTAL_DATA_DIR": str(tmp_path / "data"), "DATABASE_URL": urls["database_url"]},
    )
    drop()
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_systemd_units_match_the_code(path: Path, app: Flask) -> None:
    """Commands exist, processes restart without limit and have time to finish their work, and only what is needed is allowed."""
    parsed = unit(path)
    if path.suffix != ".service":
        return
    service = parsed["Service"]
    command = re.sub(r"\$\(date[^)]*\)", "now", " ".join(service["ExecStart"])).replace("%i", "5000")
    words = shlex.split(re.search(r"flask --app wsgi ([^']*)", command)[1])  # type: ignore[index]
    check_command(app, words)
    assert service["User"] == ["portal"] and service["EnvironmentFile"][0 if len(service["EnvironmentFile"]) == 1 else -1]
    assert service["NoNewPrivileges"] == ["yes"] and service["ProtectSystem"] == ["strict"] and service["CapabilityBoundingSet"] == [""]
    if service["Type"] == ["exec"]:
        assert service["Restart"] == ["always"] and parsed["Unit"]["StartLimitIntervalSec"] == ["0"]
        after = parsed["Unit"]["After"][0].split()
        assert {"portal.target", "portal-upgrade.service"} <= set(after), "stopping the target waits for the processes"
        assert seconds(service["TimeoutStopSec"][0]) > KILL_AFTER
        if words[0] == "worker":
            assert seconds(service["TimeoutStopSec"][0]) > LAST_EMAIL + LAST_JOB
            assert "PORTAL_METRICS_LISTEN=127.0.0.1:%i" in service["Environment"], "two workers of one machine have two addresses"
        else:
            assert service["ExecReload"] == ["/bin/kill -HUP $MAINPID"]
    for known in re.findall(r"file:///opt/portal/(\S+)", " ".join(parsed["Unit"].get("Documentation", []))):
        assert (ROOT / known).is_file(), known


def test_versions_agree() -> None:
    """The versions of Python and PostgreSQL are equal in the images, pyproject.toml and the documentation."""
    text = (ROOT / "docs/self-hosting.md").read_text("utf-8")
    lowest = tuple(map(int, re.search(r'requires-python = ">=(\d+)\.(\d+)"', (ROOT / "pyproject.toml").read_text("utf-8")).groups()))  # type: ignore[union-attr]
    assert f"Python {lowest[0]}.{lowest[1]} or newer" in text
    pythons = set(re.findall(r"FROM python:(\d+)\.(\d+)-", (ROOT / "Dockerfile").read_text("utf-8")))
    assert len(pythons) == 1 and tuple(map(int, *pythons)) >= lowest
    servers = {service["image"] for service in compose()["services"].values() if "postgres" in service.get("image", "")}
    [server] = servers
    clients = {
        re.search(r"postgresql-client-(\d+)", (ROOT / name).read_text("utf-8"))[1]  # type: ignore[index]
        for name in ("Dockerfile", "deploy/pgbouncer/Dockerfile")
    }
    assert clients == {re.search(r"postgres:(\d+)", server)[1]}, "pg_dump must not be older than the server"  # type: ignore[index]
    assert int(*clients) >= int(re.search(r"PostgreSQL (\d+) or newer", text)[1])  # type: ignore[index]


def test_settings_that_compose_leaves_out_are_documented() -> None:
    """The last part of the example lists what compose.yaml sets itself: units need it, containers override it."""
    own = {name for name in compose()["services"]["web-1"]["environment"] if name in EXAMPLE.read_text("utf-8")}
    assert own == WITHOUT_COMPOSE


@pytest.mark.parametrize(
    ("command", "read"),
    [("check", {"OWNER"}), ("upgrade", {"OWNER"}), ("backup", {"BACKUP"}), ("restore", {"OWNER", "BACKUP"}), ("business", set())],
)
def test_commands_get_the_settings_that_they_need(command: str, read: set[str], tmp_path: Path) -> None:
    """deploy/portal.sh passes values exactly as the files have them, and passwords of roles only where they are needed."""
    (tmp_path / "portal.env").write_text("# a comment\nPORTAL_NAME=Acorn's portal, =$HOME\nPORTAL_MODE=live\nLOG_LEVEL=INFO", "utf-8")
    for role in ("owner", "backup"):
        (tmp_path / f"{role}.env").write_text(f"DATABASE_{role.upper()}_URL=postgresql://{role}@127.0.0.1/portal\n", "utf-8")
    show = tmp_path / "flask"
    program = "import json, os, sys\nprint(json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]))\n"
    show.write_text(f"#!{sys.executable}\n{program}", "utf-8")
    show.chmod(0o755)
    environment = {
        "PATH": "/usr/bin:/bin:/usr/sbin:/sbin",
        "SETTINGS_FOLDER": str(tmp_path),
        "RUN_AS": getpass.getuser(),
        "FLASK": str(show),
    }
    done = subprocess.run(
        [DEPLOY / "portal.sh", command, "a b"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=True,
        env={**environment, "PORTAL_MODE": "test"},
    )
    words, folder, given = json.loads(done.stdout)
    assert words == ["--app", "wsgi", command, "a b"] and Path(folder) == ROOT
    assert (given["PORTAL_NAME"], given["LOG_LEVEL"], given["PORTAL_MODE"]) == ("Acorn's portal, =$HOME", "INFO", "test")
    assert {role for role in ("OWNER", "BACKUP") if f"DATABASE_{role}_URL" in given} == read
