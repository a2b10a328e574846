"""Scrapes of real processes: several serving processes answer as one, and a worker has a separate address."""

from __future__ import annotations

import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from prometheus_client.mmap_dict import MmapedDict, mmap_key
from prometheus_client.multiprocess import MultiProcessCollector

from core import cli
from core.metrics import listener, multiprocess
from core.metrics.listener import Listener
from core.settings import Misconfigured, Settings
from tests.conftest import on_sqlite
from tests.prometheus_text import Scrape
from tests.serving.server import ROOT, free_port, serving
from tests.shared_applications import Past

SECRET = "secret of operators"


def test_every_scrape_includes_all_serving_processes(tmp_path: Path, postgres: Any, past: Callable[[Any], Past]) -> None:
    """Any process may get the connection, so a scrape without sharing would show one process only."""
    urls, drop = past(postgres).fresh(tmp_path)
    with serving(tmp_path, urls, processes=2, TMPDIR=str(tmp_path), DATABASE_OWNER_URL=urls["database_owner_url"]) as served:
        for _ in range(20):
            assert served.ask("GET", "/login")[0] == 200
        pids = set(re.findall(r"gauge_livesum_(\d+)", " ".join(item.name for item in tmp_path.glob("portal-metrics-*/*.db"))))
        assert len(pids) >= 2, "each process writes its own"
        for _ in range(6):
            now = Scrape(served.ask("GET", "/metrics")[1].decode())
            assert now("portal_requests_total", endpoint="auth.sign_in", method="GET", status="200") == 20
            assert now("portal_database_pool_limit", database="primary") == 32, "of the two that serve, not of the supervisor"
            assert not [labels for _, labels in now.samples if dict(labels).get("pid")]
        job = {"job": "renewals"}
        until = time.monotonic() + 60
        while not Scrape(served.ask("GET", "/metrics")[1].decode()).get("portal_job_last_success_timestamp_seconds", **job):
            assert time.monotonic() < until, "the worker inside runs its jobs"
            time.sleep(0.5)
    assert not list(tmp_path.glob("portal-metrics-*")), "nothing is left of it"
    drop()


def test_metric_folders_of_killed_servers_are_removed_at_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    dead, alive, other = (tmp_path / f"portal-metrics-{name}" for name in (f"{gone.pid}-x", f"{os.getpid()}-x", "of-somebody"))
    for item in (dead, alive, other):
        item.mkdir()
    (dead / "counter_1.db").touch()
    multiprocess._remove_left_over()
    assert not dead.exists() and alive.exists() and not other.exists()


def test_counts_of_ended_processes_are_merged_into_one_file(tmp_path: Path) -> None:
    """A server whose processes are replaced daily would otherwise read thousands of files at every scrape."""
    key = mmap_key("portal_x_total", "portal_x_total", ["kind"], ["a"], "help")
    ended: list[int] = []
    for _ in range(3):
        gone = subprocess.Popen([sys.executable, "-c", ""])
        gone.wait()
        ended.append(gone.pid)
    for pid, value in ((ended[0], 2.0), (ended[1], 3.0), (os.getpid(), 10.0)):
        file = MmapedDict(str(tmp_path / f"counter_{pid}.db"))
        file.write_value(key, value, 0.0)
        file.close()
        MmapedDict(str(tmp_path / f"gauge_livesum_{pid}.db")).close()

    def total() -> float:
        found = {sample.name: sample.value for family in MultiProcessCollector(None, str(tmp_path)).collect() for sample in family.samples}
        return found["portal_x_total"]

    def names() -> set[str]:
        return {item.name for item in tmp_path.iterdir()}

    with multiprocess.reading(str(tmp_path)):
        assert total() == 15
    mine = {"lock", "counter_ended.db", f"counter_{os.getpid()}.db", f"gauge_livesum_{os.getpid()}.db"}
    assert names() == mine
    file = MmapedDict(str(tmp_path / f"counter_{ended[2]}.db"))
    file.write_value(key, 100.0, 0.0)
    file.close()
    with multiprocess.reading(str(tmp_path)):
        assert total() == 115 and names() == mine


@contextmanager
def working(folder: Path, urls: dict[str, str], listen: str, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run `flask worker` in a separate process."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    with (folder / "worker.log").open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "flask", "--app", "wsgi", "worker"],
            cwd=ROOT,
            stdout=out,
            stderr=subprocess.STDOUT,
            env={
                **kept,
                "PORTAL_DATA_DIR": str(folder),
                "DATABASE_URL": urls["database_url"],
                "PORTAL_METRICS_LISTEN": listen,
                **environment,
            },
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(45)
        finally:
            process.kill()


def ask(port: int, path: str, **headers: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text


def wait_for(process: subprocess.Popen[bytes], port: int, folder: Path) -> None:
    until = time.monotonic() + 60
    while True:
        assert process.poll() is None and time.monotonic() < until, (folder / "worker.log").read_text()[-3000:]
        try:
            if ask(port, "/healthz")[0] == 200:
                return
        except OSError:
            time.sleep(0.1)


def test_a_worker_is_scraped_at_an_address_of_its_own(tmp_path: Path, sqlite: Any, past: Callable[[Any], Past]) -> None:
    urls, drop = past(sqlite).fresh(tmp_path)
    port = free_port()
    with working(tmp_path, urls, f"127.0.0.1:{port}") as process:
        wait_for(process, port, tmp_path)
        until = time.monotonic() + 60
        while True:
            status, text = ask(port, "/metrics")
            assert status == 200
            now = Scrape(text)
            if all(
                (
                    now.get("portal_job_last_success_timestamp_seconds", job="renewals"),
                    now.get("portal_database_up"),
                    now.get("portal_job_seconds_count", job="reconcile"),
                )
            ):
                break
            assert time.monotonic() < until
            time.sleep(0.3)
        assert "portal_queue_items" in now.names
        assert ask(port, "/metrics", Host="evil.example")[0] == 404, "a page of a browser here may not read it"
        assert ask(port, "/")[0] == 404
    drop()


@pytest.fixture
def listening(app: Flask, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., int]]:
    """Serve a worker's metrics in this process with other settings: `listening(operator_secret=…)` returns its port."""
    monkeypatch.setattr("core.metrics.listener._Handler.timeout", 0.5)
    started: list[Listener] = []

    def start(**settings: Any) -> int:
        port = free_port()
        services = copy(app.extensions["portal"])
        services.settings = replace(services.settings, metrics_listen=("127.0.0.1", port), **settings)
        found = listener.start(services)
        assert found is not None
        started.append(found)
        return port

    yield start
    for item in started:
        item.shutdown()
        item.server_close()


@on_sqlite
def test_worker_metrics_need_the_operator_secret_when_set(listening: Callable[..., int]) -> None:
    port = listening(operator_secret=SECRET)
    for wrong in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Bearer"}, {"X_Operator_Secret": "wrong"}):
        assert ask(port, "/metrics", **wrong)[0] == 404
    assert ask(port, "/metrics", Authorization=f"Bearer {SECRET}", Host="10.0.0.7:9464")[0] == 200
    assert ask(port, "/metrics", X_Operator_Secret=SECRET)[0] == 200


@on_sqlite
def test_silent_connections_hold_the_address_for_seconds_only(listening: Callable[..., int]) -> None:
    port = listening()
    silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(20)]
    until = time.monotonic() + 30
    while True:
        try:
            assert ask(port, "/metrics")[0] == 200
            break
        except OSError:
            assert time.monotonic() < until
            time.sleep(0.1)
    for item in silent:
        item.close()


@on_sqlite
def test_an_address_that_is_taken_is_refused_in_one_line(app: Flask) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        services = copy(app.extensions["portal"])
        services.settings = replace(services.settings, metrics_listen=taken.getsockname())
        with pytest.raises(Misconfigured, match="PORTAL_METRICS_LISTEN"):
            cli.listen(services)


@pytest.mark.parametrize(
    "value", ["9464", "localhost:9464", "127.0.0.1", "127.0.0.1:0", "127.0.0.1:x", "127.0.0.1:9464/metrics", "user@127.0.0.1:9464", ":9464"]
)
def test_an_invalid_address_is_refused(value: str) -> None:
    with pytest.raises(Misconfigured, match="PORTAL_METRICS_LISTEN"):
        Settings.from_env({"PORTAL_METRICS_LISTEN": value})


def test_a_public_metrics_address_needs_a_secret() -> None:
    with pytest.raises(Misconfigured, match="PORTAL_OPERATOR_SECRET"):
        Settings.from_env({"PORTAL_METRICS_LISTEN": "0.0.0.0:9464"})
    assert Settings.from_env({"PORTAL_METRICS_LISTEN": "[::1]:9464"}).metrics_listen == ("::1", 9464)
    with_secret = Settings.from_env({"PORTAL_METRICS_LISTEN": "10.0.0.7:9464", "PORTAL_OPERATOR_SECRET": SECRET})
    assert with_secret.metrics_listen == ("10.0.0.7", 9464)
