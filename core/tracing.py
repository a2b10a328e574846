"""OpenTelemetry traces of requests, statements, work, lanes and recurring jobs, if OTEL_EXPORTER_OTLP_ENDPOINT is set.

Nothing is imported otherwise. The portal does not use instrumentation packages, because they record paths, queries, client
addresses and statements. A span here holds the route, not the path; the verb and table of a statement, not its values; the
class of an error, not its message. A client's `traceparent` is ignored.
"""

from __future__ import annotations

import os
import re
from collections.abc import MutableMapping
from typing import Any

from flask import Flask, Response, g, request
from sqlalchemy import event
from sqlalchemy.engine import Engine

from core import log, spans
from core.metrics.exposition import version
from core.request_limits import METHODS
from core.setting_values import Misconfigured
from core.settings import Settings

SERVICE = "customer-portal"
TIMEOUT = 3  # seconds for the collector; a process may take that long to end while it is down
_NAME = "traces"
_QUIET = frozenset({"healthz", "readyz", "metrics", "static"})
_STATEMENT = re.compile(r"\s*(SELECT|INSERT|UPDATE|DELETE|WITH)\b", re.IGNORECASE)
_TABLE = re.compile(r"\b(?:FROM|INTO|UPDATE)\s+([a-z_]+)\b", re.IGNORECASE)


def init(app: Flask, settings: Settings, *engines: Engine) -> None:
    """Start tracing, or stop it without the setting. Raises Misconfigured if the library is not installed."""
    spans.tracer = None
    log.observers.pop(_NAME, None)
    if not settings.traces_endpoint:
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        raise Misconfigured("OTEL_EXPORTER_OTLP_ENDPOINT is set, but the library is missing: pip install '.[tracing]'") from None
    about = {
        "service.name": os.environ.get("OTEL_SERVICE_NAME", SERVICE),
        "service.version": version(),
        "deployment.environment.name": settings.mode,
    }
    provider = TracerProvider(resource=Resource.create(about))
    seconds = float(os.environ.get("OTEL_EXPORTER_OTLP_TIMEOUT", TIMEOUT))
    exporter = OTLPSpanExporter(endpoint=settings.traces_endpoint.rstrip("/") + "/v1/traces", timeout=seconds)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    spans.tracer = provider.get_tracer("portal")
    app.extensions["traces"] = provider
    log.observers[_NAME] = _note_error
    app.before_request(_begin)
    app.after_request(_answered)
    app.teardown_request(_end)
    for engine in engines:
        _watch(engine)


def _begin() -> None:
    if spans.tracer is None or request.endpoint in _QUIET:
        return
    route = request.url_rule.rule if request.url_rule else "unknown"
    method = request.method if request.method in METHODS else "other"
    kind = spans.library().SpanKind.SERVER
    g.span = spans.tracer.start_as_current_span(
        f"{method} {route}",
        kind=kind,
        record_exception=False,
        set_status_on_exception=False,
        attributes={"http.request.method": method, "http.route": route, "portal.request_id": g.get("request_id", "")},
    )
    g.span.__enter__()


def _answered(response: Response) -> Response:
    if "span" in g:
        item = spans.library().get_current_span()
        item.set_attribute("http.response.status_code", response.status_code)
        if response.status_code >= 500:
            item.set_status(spans.library().StatusCode.ERROR)
    return response


def _end(_why: BaseException | None) -> None:
    opened = g.pop("span", None)
    if opened is not None:
        opened.__exit__(None, None, None)


def _watch(engine: Engine) -> None:
    @event.listens_for(engine, "before_cursor_execute")
    def begin(_connection: Any, _cursor: Any, sql: str, _parameters: Any, context: Any, _many: bool) -> None:
        found = _STATEMENT.match(sql)
        if spans.tracer is None or found is None or not spans.library().get_current_span().is_recording():
            return
        verb, table = found[1].upper(), _TABLE.search(sql)
        name = f"{verb} {table[1]}" if table else verb
        context._span = spans.tracer.start_span(
            name,
            kind=spans.library().SpanKind.CLIENT,
            attributes={
                "db.system.name": engine.dialect.name,
                "db.operation.name": verb,
                **({"db.collection.name": table[1]} if table else {}),
            },
        )

    @event.listens_for(engine, "after_cursor_execute")
    def end(_connection: Any, _cursor: Any, _sql: str, _parameters: Any, context: Any, _many: bool) -> None:
        if (item := getattr(context, "_span", None)) is not None:
            item.end()

    @event.listens_for(engine, "handle_error")
    def failed(what: Any) -> None:
        if (item := getattr(what.execution_context, "_span", None)) is not None:
            spans.mark(item, what.original_exception)
            item.end()


def _note_error(_entry: MutableMapping[str, Any], error: BaseException) -> None:
    spans.mark(spans.library().get_current_span(), error)
