"""The list of customers as a file: asked for on a page, written by the worker in batches, kept for a day.

A batch is one transaction that moves the job's own mark, so a worker that is killed, or a second one that takes over, goes on
where the last batch ended and writes no line twice.
"""

from __future__ import annotations

import tempfile
from datetime import datetime, timedelta
from typing import IO

from sqlalchemy import Index, delete, func, select
from sqlalchemy.orm import Mapped, mapped_column

from auth import budgets
from auth.budgets import DAY, HOUR, Limit
from billing.queries import customers as query
from core import clock
from core.csv_text import csv_text
from core.db import Database, ScopedSession
from core.errors import NotFound, TooMany
from core.ids import new_id
from core.lanes import Lanes, Turn
from core.models import Base, BusinessOwned, within_business
from core.outbox import emit
from core.scope import everything, system
from core.web import House
from tenants.team import Membership

BATCH, KEPT = 1000, timedelta(hours=24)
AN_HOUR, A_DAY = 5, 20  # files of one member of the team
ENOUGH = "Five of these lists in an hour, or twenty in a day, is enough. Those you asked for can be fetched for a day."
HEAD = ("customer_id", "name", "email", "phone", "language", "company", "tax_id", "country", "since", "active_subscriptions")


class CustomerExport(Base, BusinessOwned):
    """`mark` is the customer_id the last batch ended with; `written` counts lines; `total` is a count of when it was asked for."""

    __tablename__ = "customer_exports"
    __table_args__ = (Index("ix_customer_exports_created", "business_id", "created_at"),)

    words: Mapped[str]
    asked_by: Mapped[str]  # a membership
    total: Mapped[int]
    written: Mapped[int] = mapped_column(default=0)
    parts: Mapped[int] = mapped_column(default=0)
    mark: Mapped[str] = mapped_column(default="")
    created_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]


class ExportPart(Base, BusinessOwned):
    """One batch of lines. `id` is export:number, so they sort as they were written."""

    __tablename__ = "customer_export_parts"
    __table_args__ = (
        within_business("export_id", "customer_exports"), Index("ix_customer_export_parts_export", "business_id", "export_id"),
    )

    export_id: Mapped[str]
    text: Mapped[str]


def spend(database: Database, member_id: str) -> None:
    """One file of this member's; before any session is open, for it is counted by itself. Raises TooMany."""
    if not budgets.spend(database, [Limit(f"export:hour:{member_id}", AN_HOUR, HOUR), Limit(f"export:day:{member_id}", A_DAY, DAY)]):
        raise TooMany(sentence=ENOUGH)


def ask(db: ScopedSession, business_id: str, words: str, *, by: str) -> CustomerExport:
    """Write the job down; the worker does it. Files older than a day go."""
    old = select(CustomerExport.id).where(CustomerExport.created_at < clock.wall() - KEPT)
    db.execute(delete(ExportPart).where(ExportPart.export_id.in_(old)), execution_options={"synchronize_session": False})
    db.execute(delete(CustomerExport).where(CustomerExport.created_at < clock.wall() - KEPT),
               execution_options={"synchronize_session": False})
    row = CustomerExport(business_id=business_id, id=new_id("cex"), words=words[:200], asked_by=by, total=query.count(db, words),
                         created_at=clock.wall())
    db.add(row)
    db.flush()
    emit(db, "customers.export_asked", business_id=business_id, noun=row.id, data={"words": row.words, "total": row.total})
    return row


def one(db: ScopedSession, export_id: str) -> CustomerExport:
    found = db.scalar(select(CustomerExport).where(CustomerExport.id == export_id))
    if found is None:
        raise NotFound()
    return found


def asked_by(db: ScopedSession, job: CustomerExport) -> str:
    """The address of the member who asked for the file; empty where it is not known any more."""
    return db.scalar(select(Membership.email).where(Membership.id == job.asked_by)) or ""


def file_of(db: ScopedSession, export_id: str) -> IO[bytes]:
    """The whole file at its beginning, on disk where it is large: read batch by batch. Raises NotFound until it is finished."""
    job = one(db, export_id)
    if job.finished_at is None:
        raise NotFound()
    out = tempfile.SpooledTemporaryFile(max_size=4 * 1024 * 1024)  # noqa: SIM115 - the answer closes it
    out.write(("\ufeff" + csv_text([HEAD])).encode())
    for n in range(job.parts):
        out.write(db.scalars(select(ExportPart.text).where(ExportPart.id == part_id(export_id, n))).one().encode())
    out.seek(0)
    return out


def part_id(export_id: str, n: int) -> str:
    return f"{export_id}:{n:06d}"


class Writing:
    """The worker's part, in a lane of its own: batch after batch; businesses take turns."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.lanes = Lanes("customer exports", house.database, self.due, self.serve, slots=2)

    def due(self) -> list[str]:
        with self.house.database.open(everything("exports to write")) as db:
            query = select(CustomerExport.business_id).where(CustomerExport.finished_at.is_(None)).group_by(CustomerExport.business_id)
            return list(db.scalars(query.order_by(func.min(CustomerExport.created_at))))

    def serve(self, business_id: str, turn: Turn) -> bool:
        with self.house.database.open(system(business_id)) as db:
            open_ones = select(CustomerExport.id).where(CustomerExport.finished_at.is_(None))
            exports = list(db.scalars(open_ones.order_by(CustomerExport.created_at, CustomerExport.id)))
        for export_id in exports:
            while not turn.over and _batch(self.house, business_id, export_id):
                pass
        return True


def _batch(house: House, business_id: str, export_id: str) -> bool:
    with house.database.open(system(business_id), write=True) as db:
        job = db.scalar(select(CustomerExport).where(CustomerExport.id == export_id).with_for_update())
        if job is None or job.finished_at is not None:
            return False
        found = query.batch(db, job.words, after=job.mark, limit=BATCH)
        if found:
            text = csv_text((r.customer_id, r.name, r.email, r.phone, r.locale, r.business_name, r.tax_id, r.country,
                          r.created_at.isoformat(timespec="seconds"), r.active) for r in found)
            db.add(ExportPart(business_id=business_id, id=part_id(export_id, job.parts), export_id=export_id, text=text))
            job.parts, job.written, job.mark = job.parts + 1, job.written + len(found), found[-1].customer_id
        if len(found) < BATCH:
            job.finished_at = clock.wall()
        return job.finished_at is None


def register(house: House) -> None:
    if house.handlers is not None:
        writing = Writing(house)
        house.worker.lanes.append(writing.lanes)
        house.handlers.on("customers.export_asked", lambda _work: writing.lanes.wake(), "tenants.exports.wake")
