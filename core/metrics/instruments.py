"""Counters, histograms and gauges of this process. Label values come from fixed lists in the code."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics

disable_created_metrics()  # type: ignore[no-untyped-call]  # they would double the samples, and no rule uses them
REGISTRY = CollectorRegistry()
_FAST = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)  # seconds
_SLOW = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300)  # seconds

REQUESTS = Counter("portal_requests_total", "Requests answered", ["endpoint", "method", "status"], registry=REGISTRY)
REFUSED = Counter("portal_refused_total", "Requests refused or dropped before or after they had a thread", ["why"], registry=REGISTRY)
SECONDS = Histogram("portal_request_seconds", "Time to answer", ["endpoint"], registry=REGISTRY)

STATEMENT_SECONDS = Histogram(
    "portal_database_statement_seconds", "Time of one SQL statement", ["database"], buckets=_FAST, registry=REGISTRY
)
DATABASE_ERRORS = Counter(
    "portal_database_errors_total", "SQL statements that failed because the database was away", ["database"], registry=REGISTRY
)
POOL_IN_USE = Gauge(
    "portal_database_pool_in_use", "Connections that are being used", ["database"], registry=REGISTRY, multiprocess_mode="livesum"
)
POOL_LIMIT = Gauge(
    "portal_database_pool_limit", "Connections that may be used at once", ["database"], registry=REGISTRY, multiprocess_mode="livesum"
)

JOB_SECONDS = Histogram("portal_job_seconds", "Time of one run of a recurring job", ["job"], buckets=_SLOW, registry=REGISTRY)
JOB_FAILURES = Counter("portal_job_failures_total", "Runs of a recurring job that raised an error", ["job"], registry=REGISTRY)
LANE_SECONDS = Histogram("portal_lane_turn_seconds", "Time of one turn of a lane", ["lane"], buckets=_SLOW, registry=REGISTRY)
LANE_FAILURES = Counter("portal_lane_failures_total", "Turns of a lane in which the other side did not answer", ["lane"], registry=REGISTRY)
LANE_BUSY = Gauge("portal_lane_busy", "Turns of a lane that are running", ["lane"], registry=REGISTRY, multiprocess_mode="livesum")
LANE_SLOTS = Gauge("portal_lane_slots", "Turns of a lane that may run at once", ["lane"], registry=REGISTRY, multiprocess_mode="livesum")

EMAILS = Counter(
    "portal_emails_total",
    "Emails handed to the mail server, by template and outcome (sent, refused, deferred)",
    ["kind", "outcome"],
    registry=REGISTRY,
)
PROCESSOR_CALLS = Counter("portal_processor_calls_total", "Calls of the payment processor", ["call", "outcome"], registry=REGISTRY)
PROCESSOR_SECONDS = Histogram(
    "portal_processor_call_seconds", "Time of one call of the payment processor", ["call"], buckets=_SLOW, registry=REGISTRY
)
SIGN_IN_FAILURES = Counter("portal_sign_in_failures_total", "Attempts to sign in that failed", ["reason"], registry=REGISTRY)
THROTTLED = Counter("portal_throttled_total", "Requests refused because of a rate limit", ["limit"], registry=REGISTRY)

SIGN_IN_REASONS = ("wrong_code", "expired_code", "passkey", "provider", "bot_check")
for _reason in SIGN_IN_REASONS:  # rate() needs a zero before the first count
    SIGN_IN_FAILURES.labels(_reason)
