"""`/healthz` (the process answers), `/readyz` (it can serve: database, schema, mode, database role), `/metrics` (operators)."""

from __future__ import annotations

import time

from flask import Flask, Response, g, jsonify, request
from flask.typing import ResponseReturnValue
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from core import guard, replica, revisions
from core.bounds import METHODS
from core.errors import NotFound
from core.web import House, house, is_operator

REGISTRY = CollectorRegistry()
REQUESTS = Counter("portal_requests_total", "Requests answered", ["endpoint", "method", "status"], registry=REGISTRY)
REFUSED = Counter("portal_refused_total", "Requests given up before or after they had a thread", ["why"], registry=REGISTRY)
SECONDS = Histogram("portal_request_seconds", "Time to answer", ["endpoint"], registry=REGISTRY)
REPLICA_UP = Gauge("portal_replica_up", "1 while pages read from the replica", registry=REGISTRY)
REPLICA_LAG = Gauge("portal_replica_lag_seconds", "How far the replica is behind; NaN while it does not answer", registry=REGISTRY)


def init(app: Flask) -> None:
    app.add_url_rule("/healthz", "healthz", _healthz)
    app.add_url_rule("/readyz", "readyz", _readyz)
    app.add_url_rule("/metrics", "metrics", _metrics)
    app.after_request(_count)


def _healthz() -> ResponseReturnValue:
    return jsonify(status="ok")


def _readyz() -> ResponseReturnValue:
    troubles = checks(house())
    return jsonify(status="ok" if not troubles else "not ready", troubles=troubles, notes=notes(house())), 200 if not troubles else 503


def _metrics() -> ResponseReturnValue:
    if not is_operator():
        raise NotFound()
    replica.measure(house().database.replica, REPLICA_UP, REPLICA_LAG)
    return Response(generate_latest(REGISTRY), content_type=CONTENT_TYPE_LATEST)


def notes(of: House) -> list[str]:
    """What does not keep this process from serving, but should be looked at."""
    found = of.database.replica
    if found is None or found.usable():
        return []
    return ["the replica does not answer: everything is read from the primary" if found.lag is None
            else f"the replica is {found.lag:.0f} seconds behind: everything is read from the primary"]


def checks(of: House) -> list[str]:
    """What keeps this process from serving, in words; empty when all is well. Never raises, says no addresses."""
    troubles: list[str] = []
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
    except Exception as why:  # whatever it is, this process is not ready; the name is enough, the message may hold a password
        troubles.append(f"the database does not answer as it should ({type(why).__name__})")
    return troubles


def _count(response: Response) -> Response:
    name = request.endpoint or "unknown"
    method = request.method if request.method in METHODS else "other"  # clients may write anything there
    REQUESTS.labels(name, method, str(response.status_code)).inc()
    if "started" in g:
        SECONDS.labels(name).observe(time.perf_counter() - g.started)
    return response
