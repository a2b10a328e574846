"""The processes of `flask serve`: an ended one is restarted, SIGHUP replaces all, SIGTERM drains, none outlives its supervisor."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest

from core.serving import _listen
from core.setting_values import Misconfigured
from core.supervisor import AGAIN, LONGEST, STOPPED, pause
from tests.serving.server import Served, serving

DEADLINE = 60.0  # seconds; a busy machine needs several to start a process
CLIENTS = 4


def told(served: Served, event: str) -> list[dict[str, Any]]:
    """Return the log lines with this event."""
    lines = served.log.read_text(encoding="utf-8").splitlines()
    return [found for line in lines if line.startswith("{") and (found := json.loads(line))["event"] == event]


def wait_for(what: Callable[[], Any], served: Served) -> Any:
    until = time.monotonic() + DEADLINE
    while not (found := what()):
        assert time.monotonic() < until, served.log.read_text(encoding="utf-8")[-3000:]
        time.sleep(0.05)
    return found


def alive(pid: int) -> bool:
    with suppress(ProcessLookupError, FileNotFoundError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def at_work(served: Served) -> set[int]:
    """Return the serving processes."""
    return {line["pid"] for line in told(served, "serving process ready") if alive(line["pid"])}


@contextmanager
def visitors(served: Served) -> Iterator[list[BaseException]]:
    """Clients that request pages continuously over new connections, and their errors."""
    failures: list[BaseException] = []
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            try:
                assert served.ask("GET", "/healthz")[0] == 200
            except (OSError, AssertionError) as error:
                failures.append(error)
            stop.wait(0.02)  # the processes need the processor as well

    threads = [threading.Thread(target=ask) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    try:
        yield failures
    finally:
        stop.set()
        for thread in threads:
            thread.join()


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory, postgres: Any) -> Iterator[Served]:
    """Two processes on PostgreSQL."""
    urls, drop = postgres.fresh()
    with serving(tmp_path_factory.mktemp("pair"), urls, processes=2, DATABASE_OWNER_URL=urls["database_owner_url"]) as served:
        yield served
    drop()


def test_a_killed_process_is_replaced_and_others_serve_meanwhile(pair: Served) -> None:
    before = wait_for(lambda: len(found := at_work(pair)) == 2 and found, pair)
    killed = min(before)
    with visitors(pair) as failures:
        os.kill(killed, signal.SIGKILL)
        after = wait_for(lambda: len(found := at_work(pair) - {killed}) == 2 and found, pair)
    assert len(before & after) == 1
    assert len(failures) <= CLIENTS, "only what the killed process was answering"
    assert pair.process.poll() is None
    assert told(pair, "serving process ended")[-1]["exit"] == "SIGKILL"


@contextmanager
def newer_schema(served: Served, postgres: Any) -> Iterator[None]:
    """Mark the database as upgraded by a newer version: running processes continue, new ones refuse to start."""
    with psycopg.connect(postgres.owner, autocommit=True, dbname=served.database.engine.url.database) as owner:
        (newest,) = owner.execute("SELECT version_num FROM alembic_version").fetchone() or ("",)
        owner.execute("UPDATE alembic_version SET version_num = '9999'")
        yield
        owner.execute("UPDATE alembic_version SET version_num = %s", [newest])


def test_a_process_that_cannot_start_is_restarted_with_backoff(pair: Served, postgres: Any) -> None:
    survivor, killed = wait_for(lambda: len(found := at_work(pair)) == 2 and sorted(found), pair)
    with newer_schema(pair, postgres):
        os.kill(killed, signal.SIGKILL)
        line = wait_for(lambda: told(pair, AGAIN), pair)[0]
        assert at_work(pair) == {survivor} and pair.ask("GET", "/healthz")[0] == 200
    assert line["exit"] == "2" and line["starts_again_in"] > 0
    assert "was upgraded by a newer version" in pair.log.read_text(encoding="utf-8")
    wait_for(lambda: len(at_work(pair)) == 2, pair)


def test_sighup_leaves_the_old_processes_where_a_new_one_does_not_start(pair: Served, postgres: Any) -> None:
    before = wait_for(lambda: len(found := at_work(pair)) == 2 and found, pair)
    with newer_schema(pair, postgres):
        pair.process.send_signal(signal.SIGHUP)
        wait_for(lambda: told(pair, STOPPED), pair)
    assert at_work(pair) == before


def test_sighup_replaces_every_process_and_no_client_notices(pair: Served) -> None:
    before = wait_for(lambda: len(found := at_work(pair)) == 2 and found, pair)
    with visitors(pair) as failures:
        pair.process.send_signal(signal.SIGHUP)
        wait_for(lambda: len(found := at_work(pair)) == 2 and not found & before, pair)
    # a connection that an ending process has accepted and not yet read may be closed: a proxy asks again (nginx: proxy_next_upstream)
    assert len(failures) <= 1 and not [failure for failure in failures if not isinstance(failure, ConnectionResetError)], failures


def test_no_process_outlives_its_supervisor(pair: Served) -> None:
    """This is the last test of the module's two processes."""
    processes = wait_for(lambda: len(found := at_work(pair)) == 2 and found, pair)
    pair.process.kill()
    wait_for(lambda: not any(map(alive, processes)), pair)


def test_a_port_in_use_is_reported_in_one_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other, pytest.raises(Misconfigured, match=r"Cannot listen on .*: Address already in"):
        _listen("127.0.0.1", other.getsockname()[1])


def test_backoff_grows_to_thirty_seconds() -> None:
    assert [pause(failures) for failures in range(9)] == [0, 0, 1, 2, 4, 8, 16, LONGEST, LONGEST]


def test_on_sqlite_the_old_process_ends_first_and_sigterm_ends_readiness_before_the_process(tmp_path: Path, sqlite: Any) -> None:
    urls, drop = sqlite.fresh()
    with serving(tmp_path, urls, PORTAL_DRAIN_DELAY="4") as served:
        before = wait_for(lambda: at_work(served), served)
        with visitors(served) as failures:
            served.process.send_signal(signal.SIGHUP)
            wait_for(lambda: (found := at_work(served)) and not found & before, served)
        assert failures == [], "requests wait for the next process"

        served.process.send_signal(signal.SIGTERM)
        _, body, _ = wait_for(lambda: (answer := served.ask("GET", "/readyz"))[0] == 503 and answer, served)
        assert json.loads(body)["troubles"] == ["this process is shutting down"]
        assert served.ask("GET", "/healthz")[0] == 200, "load balancers may send requests until they have asked again"
        assert served.process.wait(DEADLINE) == 0
        with pytest.raises(ConnectionRefusedError):
            served.ask("GET", "/healthz")
    drop()
