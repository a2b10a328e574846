"""Work shared by all test applications of a process: compiled templates, URL rules, and the history of the cast.

It changes nothing that a test sees. Without it every test would need two thirds of a second to start.
"""

from __future__ import annotations

import copy
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from flask import Flask
from jinja2 import BytecodeCache
from jinja2.bccache import Bucket
from werkzeug.routing import Rule

from core import i18n
from core.services import Services
from core.settings import Settings
from gateways.sandbox.store import Store
from tests.cast import Cast

SANDBOX = "sandbox.sqlite3"  # as wsgi.py calls it


class _Compiled(BytecodeCache):
    """Compiled templates by name and text, so that an edited template is compiled again."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        if (code := self.kept.get(bucket.key + bucket.checksum)) is not None:
            bucket.bytecode_from_string(code)

    def dump_bytecode(self, bucket: Bucket) -> None:
        self.kept[bucket.key + bucket.checksum] = bucket.bytecode_to_string()


_templates = _Compiled()
_builders: dict[tuple[Any, ...], Any] = {}
_compile_builder = Rule._compile_builder


def _remembered(self: Rule, append_unknown: bool = True) -> Any:
    """Cache the functions that Werkzeug compiles for URL rules, by the text of the rule."""
    key = (self.rule, tuple(self._trace), tuple(sorted((self.defaults or {}).items())), append_unknown)
    if key not in _builders:
        _builders[key] = _compile_builder(self, append_unknown)
    return _builders[key]


def share_what_is_compiled() -> None:
    Rule._compile_builder = _remembered  # type: ignore[method-assign]
    Flask.jinja_options = {**Flask.jinja_options, "bytecode_cache": _templates}


class Past:
    """The history of the cast on one engine, created by the regular commands and then copied."""

    def __init__(self, engine: Any, folder: Path) -> None:
        from wsgi import create_app

        urls, _ = engine.fresh()
        app = create_app(Settings(data_dir=folder, base_url="http://localhost", **urls))
        with app.app_context():
            self.cast = Cast.play(app.extensions["portal"])
        app.extensions["portal"].database.dispose()
        self.engine, self.sandbox, self.template = engine, folder / SANDBOX, engine.name_of(urls)

    def fresh(self, folder: Path, name: str = "") -> tuple[dict[str, str], Any]:
        """Return settings as the engine's `fresh` does, with the history in the database and in the sandbox of `folder`."""
        shutil.copyfile(self.sandbox, folder / SANDBOX)
        urls, drop = self.engine.fresh(self.template, name)
        return urls, drop

    def for_services(self, services: Services) -> Cast:
        """Return the cast for an application whose database is a copy."""
        return replace(copy.deepcopy(replace(self.cast, services=None)), services=services)  # type: ignore[arg-type]


class Stage:
    """One application per engine and process, whose databases are replaced before every test. SQLAlchemy then compiles each statement

    only once per engine.
    """

    def __init__(self, engine: Any, folder: Path, base_url: str = "http://localhost") -> None:
        self.engine, self.folder, self.base_url = engine, folder, base_url
        self._app: Flask | None = None
        self._as_made: list[tuple[dict[str, Any], dict[str, Any]]] = []

    def lay(self, past: Past | None = None) -> Settings:
        """Return its settings. Nothing of the previous test is left in the databases or in the application."""
        if self._app is not None:
            self._app.extensions["portal"].database.dispose()
            for now, before in self._as_made:
                now.clear()
                now.update(_copied(before))
        for end in ("", "-wal", "-shm"):
            (self.folder / f"{SANDBOX}{end}").unlink(missing_ok=True)
        urls, _ = past.fresh(self.folder, "stage") if past else self.engine.fresh(name="stage")
        settings = Settings(data_dir=self.folder, base_url=self.base_url, **urls)
        if past is None:
            Store(self.folder / SANDBOX)
        return settings

    def app(self, settings: Settings) -> Flask:
        from wsgi import create_app

        i18n._speaker = self._app  # who speaks outside of requests: the application made last, or this one again
        if self._app is None:
            self._app = create_app(settings)
            self._app.testing = False  # errors become pages, as in production
            services = self._app.extensions["portal"]
            for item in (services, services.worker, services.handlers, services.gateway, services.processor, services.outgoing):
                self._as_made.append((vars(item), _copied(vars(item))))
        return self._app


def _copied(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value.copy() if isinstance(value, list) else value for name, value in fields.items()}
