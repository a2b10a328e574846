"""Traces and error reports reach local collectors, without secrets and personal data.

Without their settings no library is loaded.
"""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import text

from core import error_reports, job_runs, log, spans, tracing
from core.guard import raw_sql
from core.outbox import emit
from core.scope import everything
from core.settings import Misconfigured, Settings
from tests.cast import Cast
from tests.conftest import on_sqlite
from tests.visitor import Visitor

ROOT = Path(__file__).resolve().parents[2]
SECRETS = (
    "very-secret-token",
    "ABCD2345",
    "portal-test=",
    "Bearer",
    "sk_secret",
    "hunter2",
    "ada@marlow.example",
    "Ada Marlow",
    "10.20.30.40",
    "Firefox/999",
    "csrf_token",
)


class Collector(ThreadingHTTPServer):
    """Stores every received body."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.received: list[tuple[str, bytes]] = []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"

    def wait(self, enough: Callable[[], bool]) -> None:
        until = time.monotonic() + 30
        while not enough():
            assert time.monotonic() < until, f"{len(self.received)} bodies came"
            time.sleep(0.02)


class _Handler(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        self.server.received.append((self.path, body))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def collector() -> Iterator[Collector]:
    item = Collector()
    yield item
    item.shutdown()
    item.server_close()


@pytest.fixture(autouse=True)
def nothing_stays() -> Iterator[None]:
    yield
    spans.tracer = None
    log.observers.clear()


def fail(app: Flask, business_id: str) -> None:
    """Send a request full of secrets to a page that fails, and run work that fails."""
    services = app.extensions["portal"]

    def broken(token: str) -> str:
        password = "hunter2"  # noqa: F841 - a local variable
        with raw_sql(), services.database.open(everything("a statement that fails"), write=True) as db:
            for _ in range(2):
                db.execute(text("INSERT INTO leases (name, holder, until) VALUES (:name, 'x', 'x')"), {"name": "Ada Marlow"})
        return token

    app.view_functions["auth.link"] = broken
    client = app.test_client()
    client.set_cookie("portal-test", "sk_secret")
    answer = client.get(
        "/login/link/very-secret-token?code=ABCD2345&email=ada@marlow.example",
        headers={
            "Authorization": "Bearer sk_secret",
            "User-Agent": "Firefox/999",
            "X-Forwarded-For": "10.20.30.40",
            "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        },
    )
    assert answer.status_code == 500

    def writes(_work: Any) -> None:
        raise ValueError("no such mailbox: ada@marlow.example, token=very-secret-token\nDETAIL: Ada Marlow, hunter2")

    services.handlers.on("product.created", writes, "writes")
    with services.database.open(everything("work that fails"), write=True) as db:
        emit(db, "product.created", business_id=business_id)
    services.worker.drain()


def fail_with(cast: Cast, settings: Settings, make_app: Callable[..., Flask], **setting: str) -> Flask:
    app = make_app(replace(settings, **setting))
    fail(app, cast.acorn)
    return app


@on_sqlite
def test_errors_reach_sentry_without_secrets(cast: Cast, settings: Settings, make_app: Callable[..., Flask], collector: Collector) -> None:
    pytest.importorskip("sentry_sdk", reason="the extra `sentry` is not installed")
    fail_with(cast, settings, make_app, sentry_dsn=f"http://public@{collector.address}/1")

    def events() -> list[dict[str, Any]]:
        lines = [line for _, body in list(collector.received) for line in body.split(b"\n") if b'"exception"' in line]
        return [json.loads(line) for line in lines]

    collector.wait(lambda: len(events()) >= 2)
    assert all(path == "/api/1/envelope/" for path, _ in collector.received)
    page, work = sorted(events(), key=lambda event: event["tags"]["event"], reverse=True)
    assert page["tags"]["event"] == "unhandled error" and page["tags"]["request_id"] and page["environment"] == "test"
    assert page["release"].startswith("customer-portal@")
    frames = [frame for error in page["exception"]["values"] for frame in error["stacktrace"]["frames"]]
    assert "broken" in {frame["function"] for frame in frames} and not [item for item in frames if "vars" in item or "abs_path" in item]
    assert work["tags"]["handler"] == "writes" and work["exception"]["values"][-1]["value"].startswith("no such mailbox: mail:")
    assert_clean(page, work)


def assert_clean(*events: dict[str, Any]) -> None:
    for event in events:
        assert not {"request", "user", "server_name", "extra", "breadcrumbs", "modules", "contexts"} & set(event)
        for error in event["exception"]["values"]:
            for frame in error["stacktrace"]["frames"]:  # lines of the code itself, as this file has them
                for name in ("context_line", "pre_context", "post_context"):
                    frame.pop(name, None)
        whole = json.dumps(event)
        assert not [item for item in SECRETS if item in whole]


@on_sqlite
def test_traces_reach_a_collector_without_secrets(
    cast: Cast, settings: Settings, make_app: Callable[..., Flask], collector: Collector
) -> None:
    missing = "the extra `tracing` is not installed"
    pytest.importorskip("opentelemetry.sdk", reason=missing)
    messages = pytest.importorskip("opentelemetry.proto.collector.trace.v1.trace_service_pb2", reason=missing)
    app = fail_with(cast, settings, make_app, traces_endpoint=f"http://{collector.address}")
    services = app.extensions["portal"]
    job_runs.run(services.database, "renewals", lambda: None)
    services.worker.lanes[0]._take_turn("nobody")
    app.test_client().get("/healthz")
    assert app.extensions["traces"].force_flush()
    app.extensions["traces"].shutdown()
    assert collector.received and all(path == "/v1/traces" for path, _ in collector.received)

    found, resource = {}, {}
    for _, body in collector.received:
        for group in messages.ExportTraceServiceRequest.FromString(body).resource_spans:
            resource |= {attribute.key: attribute.value.string_value for attribute in group.resource.attributes}
            for scope in group.scope_spans:
                found |= {span.name: span for span in scope.spans}
    assert resource["service.name"] == "customer-portal" and resource["deployment.environment.name"] == "test"
    assert "host.name" not in resource
    page = found["GET /login/link/<token>"]
    attributes = {attribute.key: attribute.value for attribute in page.attributes}
    assert attributes["http.response.status_code"].int_value == 500 and attributes["error.type"].string_value == "IntegrityError"
    assert page.status.code == 2 and attributes["portal.request_id"].string_value
    statement = found["INSERT leases"]
    assert statement.parent_span_id == page.span_id and statement.trace_id == page.trace_id
    assert page.trace_id.hex() != "0af7651916cd43dd8448eb211c80319c", "a stranger does not choose our trace"
    work = found["work product.created"]
    assert {attribute.key: attribute.value.string_value for attribute in work.attributes}["error.type"] == "ValueError"
    assert {"job renewals", f"lane {services.worker.lanes[0].name}"} <= set(found) and not [item for item in found if "healthz" in item]
    whole = b"".join(body for _, body in collector.received)
    assert not [item for item in SECRETS if item.encode() in whole]


@on_sqlite
def test_an_unreachable_collector_delays_no_request(
    cast: Cast, settings: Settings, make_app: Callable[..., Flask], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.3")
    for library in ("opentelemetry.sdk", "sentry_sdk"):
        pytest.importorskip(library, reason="the extras `tracing` and `sentry` are not installed")
    app = make_app(replace(settings, traces_endpoint="http://127.0.0.1:9", sentry_dsn="http://public@127.0.0.1:9/1"))
    ada = Visitor(app)
    ada.sign_in(Cast.ADA)
    assert "Acorn Team" in ada.get("/").text
    app.extensions["traces"].shutdown()


@on_sqlite
def test_the_same_error_is_reported_once_a_minute(
    cast: Cast, settings: Settings, make_app: Callable[..., Flask], collector: Collector
) -> None:
    pytest.importorskip("sentry_sdk", reason="the extra `sentry` is not installed")
    make_app(replace(settings, sentry_dsn=f"http://public@{collector.address}/1"))
    reporter: Any = log.observers["error reports"]
    for _ in range(50):
        reporter({"event": "a recurring job failed", "job": "renewals"}, ValueError("x"))
    reporter({"event": "a recurring job failed"}, KeyError("x"))
    reporter.client.flush(10)
    collector.wait(lambda: sum(body.count(b'"exception"') for _, body in collector.received) >= 2)
    assert sum(body.count(b'"exception"') for _, body in collector.received) == 2


def test_values_in_database_errors_are_removed() -> None:
    assert (
        error_reports.message("(x.UndefinedColumn) no column\nLINE 1: SELECT 'Ada'\n[SQL: SELECT]\n[parameters: {'a': 'b'}]")
        == "(x.UndefinedColumn) no column"
    )
    assert error_reports.message("failed [SQL: SELECT 'Ada'] [parameters: ()]") == "failed "
    assert "secret" not in error_reports.message("bad token=secret for Bearer secret")


@pytest.mark.parametrize(
    ("setting", "module", "start"),
    [
        ({"sentry_dsn": "http://a@b.example/1"}, "sentry_sdk", lambda settings: error_reports.init(settings)),
        ({"traces_endpoint": "http://b.example"}, "opentelemetry.sdk.trace", lambda settings: tracing.init(Flask("x"), settings)),
    ],
    ids=["sentry", "traces"],
)
def test_a_setting_without_its_library_says_what_to_install(
    setting: dict[str, str], module: str, start: Callable[[Settings], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.startswith(module)] + [module]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(Misconfigured, match=r"pip install"):
        start(replace(Settings(), **setting))


def test_an_invalid_dsn_is_refused_without_repeating_it() -> None:
    pytest.importorskip("sentry_sdk", reason="the extra `sentry` is not installed")
    with pytest.raises(Misconfigured, match="SENTRY_DSN") as caught:
        error_reports.init(replace(Settings(), sentry_dsn="secret-without-scheme"))
    assert "secret-without" not in caught.value.message


def test_nothing_is_loaded_without_the_settings() -> None:
    code = (
        "import sys, wsgi; wsgi.error_reports.init(wsgi.Settings()); wsgi.tracing.init(wsgi.Flask('x'), wsgi.Settings());"
        "print([one for one in ('opentelemetry', 'sentry_sdk', 'google.protobuf') if one in sys.modules])"
    )
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120, env=kept)
    assert done.stdout.strip() == "[]", done.stderr[-2000:]
