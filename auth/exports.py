"""A copy of everything that is known about a person: asked for on a page, written by the worker, kept for seven days.

One step a table (JSON, a list of objects; amounts in minor units, instants ISO 8601 in UTC), then one a kind of paper (PDF).
A batch is one transaction that moves the job's own mark, so that a worker which takes over goes on where the last one ended.
"""

from __future__ import annotations

import json
import tempfile
import zipfile
from datetime import datetime, timedelta
from typing import IO, Any

from sqlalchemy import ForeignKeyConstraint, LargeBinary, delete, func, inspect, select, tuple_
from sqlalchemy.orm import Mapped, mapped_column

from auth import notices
from auth.models import IdentityEmail
from billing.corrections import Correction
from billing.documents import Unprintable
from billing.invoices import Invoice
from billing.parties import Customer
from billing.payments import Refund
from core import clock
from core.db import Database, ScopedSession
from core.errors import NotFound, PortalError
from core.ids import new_id
from core.lanes import Lanes, Turn
from core.models import Base, CustomerOwned, PersonOwned, kind_of
from core.outbox import emit
from core.scope import Scope, everything, person, resolving
from core.web import House
from core.worker import Tick

BATCH, KEPT = 500, timedelta(days=7)
PAPERS: tuple[tuple[str, type[Base], str], ...] = (
    ("invoices", Invoice, "invoice_pdf"), ("corrections", Correction, "correction_pdf"), ("refunds", Refund, "refund_pdf"))
LEFT_OUT = {
    "person_exports": "the copy itself", "person_export_files": "the copy itself", "documents": "the papers, which come as files",
    "app_tokens": "keyed hashes of secrets, and nothing else",
}
SECRET = ("_hash", "sealed", "public_key", "secret")


class PersonExport(Base, PersonOwned):
    """`step` and `mark` say where the next batch begins; `written` of `total` rows and papers are in."""

    __tablename__ = "person_exports"

    total: Mapped[int] = mapped_column(default=0)
    written: Mapped[int] = mapped_column(default=0)
    files: Mapped[int] = mapped_column(default=0)
    step: Mapped[int] = mapped_column(default=0)
    mark: Mapped[str] = mapped_column(default="")
    created_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]


class ExportFile(Base, PersonOwned):
    """A piece of a file of the copy. Pieces of one `name` follow each other by `id`."""

    __tablename__ = "person_export_files"
    __table_args__ = (ForeignKeyConstraint(["identity_id", "export_id"], ["person_exports.identity_id", "person_exports.id"]),)

    export_id: Mapped[str]
    name: Mapped[str]
    content: Mapped[bytes] = mapped_column(LargeBinary)


def tables() -> list[tuple[str, type[Base]]]:
    """Every table that holds rows of a person or of a customer."""
    found = {one.local_table.name: one.class_ for one in Base.registry.mappers  # type: ignore[attr-defined]
             if kind_of(one.class_) in (CustomerOwned, PersonOwned)}
    return sorted((name, mapped) for name, mapped in found.items() if name not in LEFT_OUT)


def newest(db: ScopedSession) -> PersonExport | None:
    """The person's copy, being written or ready; None when there is none any more."""
    query = select(PersonExport).where(PersonExport.created_at > clock.wall() - KEPT)
    return db.scalar(query.order_by(PersonExport.created_at.desc()).limit(1))


def ask(db: ScopedSession, identity_id: str) -> PersonExport:
    """In the person's own session: one copy at a time, a new one replaces the old."""
    found = newest(db)
    if found is not None and found.finished_at is None:
        return found
    forget(db, identity_id)
    row = PersonExport(identity_id=identity_id, id=new_id("exp"), created_at=clock.wall())
    db.add(row)
    db.flush()
    emit(db, "person.export_asked", noun=row.id, data={"identity_id": identity_id})
    return row


def forget(db: ScopedSession, identity_id: str) -> None:
    for mapped in (ExportFile, PersonExport):
        db.execute(delete(mapped).where(mapped.identity_id == identity_id), execution_options={"synchronize_session": False})  # type: ignore[attr-defined]


def sweep(database: Database) -> int:
    """Copies older than seven days go. Returns how many."""
    old = select(PersonExport.id).where(PersonExport.created_at < clock.wall() - KEPT)
    with database.open(everything("are there old copies")) as db:
        if db.scalar(old.limit(1)) is None:
            return 0
    with database.open(everything("old copies go"), write=True) as db:
        db.execute(delete(ExportFile).where(ExportFile.export_id.in_(old)), execution_options={"synchronize_session": False})
        gone = db.execute(delete(PersonExport).where(PersonExport.created_at < clock.wall() - KEPT),
                          execution_options={"synchronize_session": False})
        return int(gone.rowcount)  # type: ignore[attr-defined]


def packed(db: ScopedSession, export_id: str) -> IO[bytes]:
    """The ZIP, at its beginning. Raises NotFound until it is finished, and after seven days."""
    job = newest(db)
    if job is None or job.id != export_id or job.finished_at is None:
        raise NotFound()
    out = tempfile.SpooledTemporaryFile(max_size=8 * 1024 * 1024)  # noqa: SIM115 - the answer closes it
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        pieces = list(db.execute(select(ExportFile.id, ExportFile.name).where(ExportFile.export_id == export_id).order_by(ExportFile.id)))
        for name in dict.fromkeys(name for _, name in pieces):
            with archive.open(name, "w") as entry:
                for piece in (one for one, of in pieces if of == name):
                    entry.write(db.scalars(select(ExportFile.content).where(ExportFile.id == piece)).one())
    out.seek(0)
    return out


def due(database: Database) -> list[str]:
    """Ids of the people whose exports are to be written, the longest waiting first."""
    with database.open(everything("copies to write")) as db:
        open_ones = select(PersonExport.identity_id).where(PersonExport.finished_at.is_(None))
        return list(db.scalars(open_ones.order_by(PersonExport.created_at)))


def write(house: House, identity_id: str, turn: Turn) -> bool:
    """The worker's part, in a lane of its own: batch after batch; people take turns."""
    with house.database.open(everything("which copy is it")) as db:
        job = db.scalar(select(PersonExport.id).where(PersonExport.identity_id == identity_id, PersonExport.finished_at.is_(None)))
    with house.worker.around():
        while job is not None and not turn.over and _batch(house, identity_id, job):
            pass
    return True


def _batch(house: House, identity_id: str, export_id: str) -> bool:
    database = house.database
    with database.open(everything("how far is this copy")) as db:
        job = db.scalar(select(PersonExport).where(PersonExport.identity_id == identity_id, PersonExport.id == export_id))
        if job is None or job.finished_at is not None:
            return False
    scope, steps = _scope(database, identity_id), tables()
    total = job.total or sum(_count(database, scope, mapped) for mapped in [*(one for _, one in steps), *(one for _, one, _ in PAPERS)])
    if job.step < len(steps):
        name, mapped = steps[job.step]
        pieces, mark, count = _rows(database, scope, name, mapped, job.mark)
    else:
        pieces, mark, count = _papers(house, scope, *PAPERS[job.step - len(steps)], job.mark)
    with database.open(everything("a batch of a copy"), write=True) as db:
        now = db.scalar(select(PersonExport).where(PersonExport.identity_id == identity_id, PersonExport.id == export_id).with_for_update())
        if now is None or (now.step, now.mark) != (job.step, job.mark):
            return now is not None and now.finished_at is None  # another worker was faster
        for file_name, content in pieces:
            db.add(ExportFile(identity_id=identity_id, id=f"{export_id}:{now.files:06d}", export_id=export_id, name=file_name,
                              content=content))
            now.files += 1
        now.total, now.written, now.mark = total, now.written + count, mark
        if not mark:
            now.step += 1
        if now.step == len(steps) + len(PAPERS):
            now.finished_at = clock.wall()
            notices.tell(db, identity_id, "exported")
        return now.finished_at is None


def _scope(database: Database, identity_id: str) -> Scope:
    with database.open(everything("whose copy is this")) as db:
        keys = list(db.scalars(select(IdentityEmail.email_key).where(IdentityEmail.identity_id == identity_id)))
    with database.open(resolving(keys, identity_id=identity_id)) as db:
        return person(identity_id, [(business_id, customer_id) for business_id, customer_id in db.execute(
            select(Customer.business_id, Customer.customer_id).where(~Customer.is_declined))])


def _keys(mapped: type[Base]) -> list[Any]:
    mapper = inspect(mapped)
    return [getattr(mapped, mapper.get_property_by_column(column).key) for column in mapper.primary_key]


def _count(database: Database, scope: Scope, mapped: type[Base]) -> int:
    with database.open(scope) as db:
        return db.scalar(select(func.count(_keys(mapped)[-1]))) or 0


def _rows(database: Database, scope: Scope, name: str, mapped: type[Base], mark: str) -> tuple[list[tuple[str, bytes]], str, int]:
    """(pieces, the next mark or "" at the end, how many rows)."""
    keys = _keys(mapped)
    shown = [one.key for one in inspect(mapped).column_attrs
             if not isinstance(one.columns[0].type, LargeBinary) and not one.key.endswith(SECRET)]
    query = select(*(getattr(mapped, key) for key in shown), *keys).order_by(*keys).limit(BATCH)
    if mark:
        query = query.where(tuple_(*keys) > tuple_(*json.loads(mark)))
    with database.open(scope) as db:
        found = [tuple(row) for row in db.execute(query)]
    more = len(found) == BATCH
    lines = ",\n".join(json.dumps(dict(zip(shown, row, strict=False)), ensure_ascii=False, default=_plain) for row in found)
    text = (",\n" if lines else "") if mark else "[\n"
    text += lines + ("" if more else "\n]\n")
    return [(f"{name}.json", text.encode())], json.dumps(list(found[-1][len(shown):])) if more else "", len(found)


def _papers(house: House, scope: Scope, folder: str, mapped: Any, verb: str, mark: str) -> tuple[list[tuple[str, bytes]], str, int]:
    """One paper at a time: rendering takes longer than reading, and may ask another system for it."""
    with house.database.open(scope) as db:
        found = db.execute(select(mapped.id, mapped.business_id).where(mapped.id > mark).order_by(mapped.id).limit(1)).first()
    if found is None:
        return [], "", 0
    with house.database.open(scope) as db:
        try:
            paper, number = getattr(house.documents, verb)(db, found[0])
        except (PortalError, Unprintable):
            return [], str(found[0]), 1  # no paper of it exists: a refund on its way, or what another system does not hand out
    safe = "".join(one if one.isalnum() or one in "-_" else "-" for one in number)
    return [(f"{folder}/{found[1]}/{safe}.pdf", paper)], str(found[0]), 1


def _plain(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def register(house: House) -> None:
    lanes = Lanes("person exports", house.database, lambda: due(house.database), lambda one, turn: write(house, one, turn), slots=2)
    house.worker.lanes.append(lanes)
    house.handlers.on("person.export_asked", lambda _work: lanes.wake(), "auth.exports.wake")
    house.worker.ticks.append(Tick("old copies", timedelta(hours=1), lambda: sweep(house.database)))
