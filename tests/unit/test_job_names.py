"""Failing rows are stored under the names of their jobs: the names stay, and the console has a label for each."""

from __future__ import annotations

from billing.model import job_names
from tenants.console.failed_jobs import JOBS

STORED = {
    "renewals",
    "retry",
    "end_grace",
    "reconcile",
    "plan_notice",
    "plan_price_change",
    "announce_price_change",
    "stop_price_change",
    "remind_renewal",
    "remind_expiry",
    "dun",
    "estimate_tax",
    "report_tax",
    "recover",
    "planned_statement",
    "overdue_request",
}


def test_the_names_of_stored_failures_stay() -> None:
    assert set(job_names.ALL) == STORED


def test_the_console_names_each_job() -> None:
    assert set(JOBS) == STORED
