"""`/healthz` (the process runs), `/readyz` (it can serve: database, schema, mode, database role) and `/metrics` (operators)."""

from __future__ import annotations

import time

from flask import Flask, Response, g, jsonify, request
from flask.typing import ResponseReturnValue

from core import guard, revisions
from core.errors import NotFound
from core.metrics.exposition import CONTENT_TYPE, knows_secret, scrape
from core.metrics.instruments import REFUSED as REFUSED
from core.metrics.instruments import REQUESTS, SECONDS
from core.operator_access import is_operator
from core.request_context import services
from core.request_limits import METHODS
from core.services import Services


def init(app: Flask) -> None:
    app.add_url_rule("/healthz", "healthz", _healthz)
    app.add_url_rule("/readyz", "readyz", _readyz)
    app.add_url_rule("/metrics", "metrics", _metrics)
    app.after_request(_count)


def _healthz() -> ResponseReturnValue:
    return jsonify(status="ok")


def _readyz() -> ResponseReturnValue:
    troubles = checks(services())
    return jsonify(status="ok" if not troubles else "not ready", troubles=troubles, notes=notes(services())), 200 if not troubles else 503


def _metrics() -> ResponseReturnValue:
    """Answer on any Host header, because a scraper connects to each process by its address. Others than operators get 404."""
    if not (is_operator() or knows_secret(services().settings, request.headers.get("Authorization", ""))):
        raise NotFound()
    return Response(scrape(services()), content_type=CONTENT_TYPE)


def notes(of: Services) -> list[str]:
    """Return warnings that do not keep this process from serving."""
    found, others = of.database.replica, of.database.disk_space.notes()
    if found is None or found.usable():
        return others
    return [
        "the replica does not answer; all reads go to the primary"
        if found.lag is None
        else f"the replica is {found.lag:.0f} seconds behind; all reads go to the primary",
        *others,
    ]


def checks(of: Services) -> list[str]:
    """Return the reasons why this process cannot serve; empty when it can. Never raises, contains no addresses."""
    troubles = ["this process is shutting down"] if of.lifecycle.draining else []
    troubles += of.database.disk_space.problems()
    try:
        with guard.raw_sql(), of.database.engine.connect() as connection:
            run = connection.exec_driver_sql
            if problem := revisions.problem(revisions.of(connection)):
                troubles.append(problem)
            stamp = run("SELECT mode FROM deployment").scalar()
            if stamp != of.settings.mode:
                troubles.append(f"the database is stamped {stamp!r}, this deployment is {of.settings.mode!r}")
            if connection.dialect.name == "postgresql":
                role = run(
                    "SELECT r.rolsuper, r.rolbypassrls, EXISTS (SELECT 1 FROM pg_tables t WHERE t.tableowner = current_user "
                    "AND t.schemaname = current_schema()) FROM pg_roles r WHERE r.rolname = current_user"
                ).one()
                if any(role):
                    troubles.append("the database role is a superuser, an owner of tables, or bypasses row-level security")
    except Exception as error:  # any error means not ready; only its name is shown, because the message may hold a password
        troubles.append(f"the database does not answer as it should ({type(error).__name__})")
        if getattr(getattr(error, "orig", None), "sqlstate", None) is None:
            return troubles  # no answer: testing the pooler would wait again
    return troubles + [problem for pooler in of.database.poolers if (problem := pooler.problem())]


def _count(response: Response) -> Response:
    name = request.endpoint or "unknown"
    method = request.method if request.method in METHODS else "other"  # clients may send any method
    REQUESTS.labels(name, method, str(response.status_code)).inc()
    if "started" in g:
        SECONDS.labels(name).observe(time.perf_counter() - g.started)
    return response
