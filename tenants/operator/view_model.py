"""The data of the operator's overview and what needs attention. During a database outage, the parts that need it are left out."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from flask_babel import gettext as _
from flask_babel import ngettext
from sqlalchemy.exc import SQLAlchemyError

from core import clock, revisions
from core.operations import failed_work, health, jobs, queues
from core.operations.jobs import FailingRow, Job
from core.outage import is_outage
from core.scope import everything
from core.services import Services
from tenants.operator.labels import duration, size

WAITS_LONG = timedelta(minutes=5)
SOME = 2  # late jobs that are listed by name


@dataclass(frozen=True)
class Rows:
    """The parts of the overview that are read from the database."""

    work: queues.Queue
    lanes: list[queues.Queue]
    others: list[queues.Queue]
    webhooks: list[queues.WebhookBacklog]
    exceptions: list[tuple[str, int, datetime]]
    failed: dict[str, int]
    jobs: list[Job]
    failures: dict[str, int]
    failing_rows: list[FailingRow]


@dataclass(frozen=True)
class Overview:
    """The overview. `rows` and `mail` are None while the database does not answer."""

    database: health.DatabaseHealth
    replica: health.ReplicaHealth | None
    disk: health.Disk | None
    mail: health.MailHealth | None
    rows: Rows | None
    versions: dict[str, str]
    newest_schema: str
    needs: list[tuple[str, str, str]] = field(default_factory=list)  # (voice, sentence, link)


def overview(of: Services) -> Overview:
    database = health.database(of)
    answers = database.round_trip_ms is not None  # every further query would wait for a connection until the time-out
    made = Overview(
        database,
        health.replica(of),
        health.disk(of),
        health.mail(of) if answers else None,
        _rows(of) if answers else None,
        health.versions(),
        ", ".join(sorted(revisions.newest())),
    )
    made.needs.extend(_of_health(made))
    if made.rows is not None:
        made.needs.extend(_of_rows(made.rows))
    made.needs.sort(key=lambda item: item[0] != "due")
    return made


def _rows(of: Services) -> Rows | None:
    try:
        with of.database.open(everything("the operator's overview")) as db:
            return Rows(
                queues.work(db),
                queues.lanes(db),
                queues.others(db),
                queues.webhooks(db),
                queues.exceptions(db),
                failed_work.counts(db),
                jobs.jobs(db, of.worker.ticks),
                jobs.failures(db),
                jobs.failing_rows(db),
            )
    except SQLAlchemyError as error:
        if not is_outage(error):
            raise
        return None


def _of_health(overview: Overview) -> list[tuple[str, str, str]]:
    found = [("due", trouble[0].upper() + trouble[1:].rstrip(".") + ".", "#health") for trouble in overview.database.troubles]
    if not overview.database.clocks_agree:
        found.append(
            (
                "due",
                _(
                    "The clocks of this machine and of the database differ by %(time)s.",
                    time=duration(timedelta(seconds=abs(overview.database.ahead or 0))),
                ),
                "#health",
            )
        )
    if overview.replica is not None and not overview.replica.is_used:
        found.append(("wait", _("The replica is not used: everything is read from the primary."), "#health"))
    if overview.disk is not None and overview.disk.is_low:
        found.append(("due", _("The disk is nearly full: %(free)s free.", free=size(overview.disk.free)), "#health"))
    if overview.mail is not None and overview.mail.fails:
        found.append(("due", _("The mail server does not accept emails. They are tried again later."), "#health"))
    return found


def _of_rows(rows: Rows) -> list[tuple[str, str, str]]:
    found, now = [], clock.wall()
    if given_up := rows.failed["given_up"]:
        found.append(
            (
                "due",
                ngettext("One item of work failed permanently.", "%(num)d items of work failed permanently.", given_up),
                "/operator/work",
            )
        )
    oldest = rows.work.oldest_due_at
    if oldest is not None and now - oldest > WAITS_LONG:
        found.append(
            ("due", _("The oldest work has waited for %(time)s. Check that a worker is running.", time=duration(now - oldest)), "#queues")
        )
    late = [job for job in rows.jobs if job.is_late]
    if len(late) > SOME:
        found.append(("due", _("%(num)d recurring jobs are late. Check that a worker is running.", num=len(late)), "#jobs"))
    for job in late if len(late) <= SOME else ():
        since = job.succeeded_at or job.ran_at or now
        found.append(("due", _("The job “%(job)s” has not succeeded for %(time)s.", job=job.name, time=duration(now - since)), "#jobs"))
    if total := sum(rows.failures.values()):
        found.append(
            ("wait", ngettext("One row of a recurring job is failing.", "%(num)d rows of recurring jobs are failing.", total), "#failing")
        )
    if total := sum(count for _business, count, _since in rows.exceptions):
        found.append(
            (
                "wait",
                ngettext(
                    "One payment or refund needs reconciliation by its business.",
                    "%(num)d payments or refunds need reconciliation by their businesses.",
                    total,
                ),
                "#exceptions",
            )
        )
    return found
