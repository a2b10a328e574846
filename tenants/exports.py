"""Exports the customer list as a CSV file: requested in the console, written by the worker in batches, kept for 24 hours.

Each batch is one transaction that also moves the job's mark. After an interruption the next worker continues after the last batch.
"""

from __future__ import annotations

import tempfile
from datetime import datetime, timedelta
from typing import IO

from sqlalchemy import Index, delete, func, select
from sqlalchemy.orm import Mapped, mapped_column

from auth import rate_limits
from auth.rate_limits import DAY, HOUR, Limit
from billing.customers import queries as query
from core import clock
from core.csv_text import csv_text
from core.db import Database, ScopedSession
from core.errors import N_, NotFound, TooMany
from core.ids import new_id
from core.lanes import Lanes, Turn
from core.metrics.snapshot import count_due
from core.models import Base, BusinessOwned, within_business
from core.outbox import emit
from core.scope import everything, system
from core.services import Services
from tenants.team import Membership

BATCH, KEPT = 1000, timedelta(hours=24)
PER_HOUR, PER_DAY = 5, 20  # exports of one team member
TOO_MANY_EXPORTS = N_("You can export five lists per hour and twenty per day. You can download your exports for one day.")
HEAD = ("customer_id", "name", "email", "phone", "language", "company", "tax_id", "country", "since", "active_subscriptions")


class CustomerExport(Base, BusinessOwned):
    """An export job. `mark`: the last customer_id written. `written`: lines so far. `total`: customers when it was requested."""

    __tablename__ = "customer_exports"
    __table_args__ = (Index("ix_customer_exports_created", "business_id", "created_at"),)

    search_text: Mapped[str]
    requested_by: Mapped[str]  # a membership
    total: Mapped[int]
    written: Mapped[int] = mapped_column(default=0)
    parts: Mapped[int] = mapped_column(default=0)
    mark: Mapped[str] = mapped_column(default="")
    created_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]


class ExportPart(Base, BusinessOwned):
    """One batch of lines. `id` is `export_id:number`, so parts sort in the order of writing."""

    __tablename__ = "customer_export_parts"
    __table_args__ = (
        within_business("export_id", "customer_exports"),
        Index("ix_customer_export_parts_export", "business_id", "export_id"),
    )

    export_id: Mapped[str]
    text: Mapped[str]


def spend(database: Database, member_id: str) -> None:
    """Count an export of this member. Call it before a session is open, because it commits on its own. Raises TooMany."""
    if not rate_limits.spend(database, [Limit(f"export:hour:{member_id}", PER_HOUR, HOUR), Limit(f"export:day:{member_id}", PER_DAY, DAY)]):
        raise TooMany(sentence=TOO_MANY_EXPORTS)


def request_export(db: ScopedSession, business_id: str, words: str, *, by: str) -> CustomerExport:
    """Create an export job for the worker and delete exports older than 24 hours."""
    old = select(CustomerExport.id).where(CustomerExport.created_at < clock.wall() - KEPT)
    db.execute(delete(ExportPart).where(ExportPart.export_id.in_(old)), execution_options={"synchronize_session": False})
    db.execute(
        delete(CustomerExport).where(CustomerExport.created_at < clock.wall() - KEPT), execution_options={"synchronize_session": False}
    )
    row = CustomerExport(
        business_id=business_id,
        id=new_id("cex"),
        search_text=words[:200],
        requested_by=by,
        total=query.count(db, words),
        created_at=clock.wall(),
    )
    db.add(row)
    db.flush()
    emit(db, "customers.export_requested", business_id=business_id, noun=row.id, data={"search_text": row.search_text, "total": row.total})
    return row


def find(db: ScopedSession, export_id: str) -> CustomerExport:
    """Return an export job. Raises NotFound."""
    found = db.scalar(select(CustomerExport).where(CustomerExport.id == export_id))
    if found is None:
        raise NotFound()
    return found


def requested_by(db: ScopedSession, job: CustomerExport) -> str:
    """Return the email of the member who requested the export; empty if it is no longer known."""
    return db.scalar(select(Membership.email).where(Membership.id == job.requested_by)) or ""


def file_of(db: ScopedSession, export_id: str) -> IO[bytes]:
    """Return the whole file, positioned at its start; a large file is on disk. Raises NotFound until the export is finished."""
    job = find(db, export_id)
    if job.finished_at is None:
        raise NotFound()
    out = tempfile.SpooledTemporaryFile(max_size=4 * 1024 * 1024)  # noqa: SIM115 - the response closes it
    out.write(("\ufeff" + csv_text([HEAD])).encode())
    for n in range(job.parts):
        out.write(db.scalars(select(ExportPart.text).where(ExportPart.id == part_id(export_id, n))).one().encode())
    out.seek(0)
    return out


def part_id(export_id: str, n: int) -> str:
    return f"{export_id}:{n:06d}"


class ExportWriter:
    """Writes exports in the worker, in a separate lane. Businesses take turns."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self.lanes = Lanes("customer exports", services.database, self.due, self.serve, slots=2)

    def due(self) -> list[str]:
        with self.services.database.open(everything("exports to write")) as db:
            query = select(CustomerExport.business_id).where(CustomerExport.finished_at.is_(None)).group_by(CustomerExport.business_id)
            return list(db.scalars(query.order_by(func.min(CustomerExport.created_at))))

    def serve(self, business_id: str, turn: Turn) -> bool:
        with self.services.database.open(system(business_id)) as db:
            unfinished = select(CustomerExport.id).where(CustomerExport.finished_at.is_(None))
            exports = list(db.scalars(unfinished.order_by(CustomerExport.created_at, CustomerExport.id)))
        for export_id in exports:
            while not turn.over and _write_batch(self.services, business_id, export_id):
                pass
        return True


def _write_batch(services: Services, business_id: str, export_id: str) -> bool:
    with services.database.open(system(business_id), write=True) as db:
        job = db.scalar(select(CustomerExport).where(CustomerExport.id == export_id).with_for_update())
        if job is None or job.finished_at is not None:
            return False
        found = query.batch(db, job.search_text, after=job.mark, limit=BATCH)
        if found:
            text = csv_text(
                (
                    r.customer_id,
                    r.name,
                    r.email,
                    r.phone,
                    r.locale,
                    r.business_name,
                    r.tax_id,
                    r.country,
                    r.created_at.isoformat(timespec="seconds"),
                    r.active,
                )
                for r in found
            )
            db.add(ExportPart(business_id=business_id, id=part_id(export_id, job.parts), export_id=export_id, text=text))
            job.parts, job.written, job.mark = job.parts + 1, job.written + len(found), found[-1].customer_id
        if len(found) < BATCH:
            job.finished_at = clock.wall()
        return job.finished_at is None


def register(services: Services) -> None:
    if services.handlers is not None:
        writer = ExportWriter(services)
        services.worker.lanes.append(writer.lanes)
        services.metrics.add_queue(
            writer.lanes.name, lambda db: count_due(db, CustomerExport.created_at, CustomerExport.finished_at.is_(None))
        )
        services.handlers.on("customers.export_requested", lambda _work: writer.lanes.wake(), "tenants.exports.wake")
