"""Personal data export: requested on a page, written by the worker, kept for seven days.

One step per table (JSON: a list of objects, amounts in minor units, times in ISO 8601 UTC), then one per document type (PDF).
Each batch is one transaction that advances the job's mark, so that another worker can continue after a crash.
"""

from __future__ import annotations

import json
import tempfile
import zipfile
from datetime import datetime, timedelta
from typing import IO, Any

from sqlalchemy import LargeBinary, delete, func, inspect, select, tuple_

from auth import account_emails
from auth.models import IdentityEmail
from auth.personal_export_models import ExportFile, PersonExport
from billing.documents import Unprintable
from billing.model.corrections import Correction
from billing.model.invoices import Invoice
from billing.model.parties import Customer
from billing.model.payments import Refund
from core import clock
from core.db import Database, ScopedSession
from core.errors import NotFound, PortalError
from core.ids import new_id
from core.lanes import Lanes, Turn
from core.metrics.snapshot import count_due
from core.models import Base, CustomerOwned, PersonOwned, kind_of
from core.outbox import emit
from core.scope import Scope, everything, person, resolving
from core.services import Services
from core.worker import Tick

BATCH, KEPT = 500, timedelta(days=7)
DOCUMENTS: tuple[tuple[str, type[Base], str], ...] = (
    ("invoices", Invoice, "invoice_pdf"),
    ("corrections", Correction, "correction_pdf"),
    ("refunds", Refund, "refund_pdf"),
)
EXCLUDED_TABLES = {
    "person_exports": "the export itself",
    "person_export_files": "the export itself",
    "documents": "documents are included as files",
    "app_tokens": "contains only keyed hashes of secrets",
}
SECRET = ("_hash", "sealed", "public_key", "secret")


def tables() -> list[tuple[str, type[Base]]]:
    """Return every table with rows of a person or of a customer."""
    found = {
        str(mapper.class_.__tablename__): mapper.class_
        for mapper in Base.registry.mappers
        if kind_of(mapper.class_) in (CustomerOwned, PersonOwned)
    }
    return sorted((name, mapped) for name, mapped in found.items() if name not in EXCLUDED_TABLES)


def newest(db: ScopedSession) -> PersonExport | None:
    """Return the person's current export, in progress or ready, or None."""
    query = select(PersonExport).where(PersonExport.created_at > clock.wall() - KEPT)
    return db.scalar(query.order_by(PersonExport.created_at.desc()).limit(1))


def request_export(db: ScopedSession, identity_id: str) -> PersonExport:
    """Start an export, in the person's own session. One at a time; a new one replaces a finished one."""
    found = newest(db)
    if found is not None and found.finished_at is None:
        return found
    forget(db, identity_id)
    row = PersonExport(identity_id=identity_id, id=new_id("exp"), created_at=clock.wall())
    db.add(row)
    db.flush()
    emit(db, "person.export_requested", noun=row.id, data={"identity_id": identity_id})
    return row


def forget(db: ScopedSession, identity_id: str) -> None:
    for mapped in (ExportFile, PersonExport):
        db.execute(delete(mapped).where(mapped.identity_id == identity_id), execution_options={"synchronize_session": False})


def sweep(database: Database) -> int:
    """Delete exports older than seven days. Returns the number of deleted exports."""
    old = select(PersonExport.id).where(PersonExport.created_at < clock.wall() - KEPT)
    with database.open(everything("find old exports")) as db:
        if db.scalar(old.limit(1)) is None:
            return 0
    with database.open(everything("delete old exports"), write=True) as db:
        db.execute(delete(ExportFile).where(ExportFile.export_id.in_(old)), execution_options={"synchronize_session": False})
        deleted = db.execute(
            delete(PersonExport).where(PersonExport.created_at < clock.wall() - KEPT), execution_options={"synchronize_session": False}
        )
        return int(deleted.rowcount)  # type: ignore[attr-defined]


def open_zip(db: ScopedSession, export_id: str) -> IO[bytes]:
    """Return the ZIP file, positioned at its start. Raises NotFound until it is finished, and after seven days."""
    job = newest(db)
    if job is None or job.id != export_id or job.finished_at is None:
        raise NotFound()
    out = tempfile.SpooledTemporaryFile(max_size=8 * 1024 * 1024)  # noqa: SIM115 - the response closes it
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        pieces = list(db.execute(select(ExportFile.id, ExportFile.name).where(ExportFile.export_id == export_id).order_by(ExportFile.id)))
        for name in dict.fromkeys(name for _, name in pieces):
            with archive.open(name, "w") as entry:
                for piece in (item for item, of in pieces if of == name):
                    entry.write(db.scalars(select(ExportFile.content).where(ExportFile.id == piece)).one())
    out.seek(0)
    return out


def due(database: Database) -> list[str]:
    """Return ids of people with unfinished exports, oldest first."""
    with database.open(everything("list unfinished exports")) as db:
        open_ones = select(PersonExport.identity_id).where(PersonExport.finished_at.is_(None))
        return list(db.scalars(open_ones.order_by(PersonExport.created_at)))


def write(services: Services, identity_id: str, turn: Turn) -> bool:
    """Write batches of an export in a separate worker lane. People take turns."""
    with services.database.open(everything("find an export")) as db:
        job = db.scalar(select(PersonExport.id).where(PersonExport.identity_id == identity_id, PersonExport.finished_at.is_(None)))
    with services.worker.around():
        while job is not None and not turn.over and _batch(services, identity_id, job):
            pass
    return True


def _batch(services: Services, identity_id: str, export_id: str) -> bool:
    database = services.database
    with database.open(everything("load export progress")) as db:
        job = db.scalar(select(PersonExport).where(PersonExport.identity_id == identity_id, PersonExport.id == export_id))
        if job is None or job.finished_at is not None:
            return False
    scope, steps = _scope(database, identity_id), tables()
    total = job.total or sum(
        _count(database, scope, mapped) for mapped in [*(item for _, item in steps), *(item for _, item, _ in DOCUMENTS)]
    )
    if job.step < len(steps):
        name, mapped = steps[job.step]
        pieces, mark, count = _rows(database, scope, name, mapped, job.mark)
    else:
        pieces, mark, count = _document(services, scope, *DOCUMENTS[job.step - len(steps)], job.mark)
    with database.open(everything("store an export batch"), write=True) as db:
        now = db.scalar(select(PersonExport).where(PersonExport.identity_id == identity_id, PersonExport.id == export_id).with_for_update())
        if now is None or (now.step, now.mark) != (job.step, job.mark):
            return now is not None and now.finished_at is None  # another worker wrote this batch
        for file_name, content in pieces:
            db.add(
                ExportFile(identity_id=identity_id, id=f"{export_id}:{now.files:06d}", export_id=export_id, name=file_name, content=content)
            )
            now.files += 1
        now.total, now.written, now.mark = total, now.written + count, mark
        if not mark:
            now.step += 1
        if now.step == len(steps) + len(DOCUMENTS):
            now.finished_at = clock.wall()
            account_emails.notify_identity(db, identity_id, "exported")
        return now.finished_at is None


def _scope(database: Database, identity_id: str) -> Scope:
    with database.open(everything("load export addresses")) as db:
        keys = list(db.scalars(select(IdentityEmail.email_key).where(IdentityEmail.identity_id == identity_id)))
    with database.open(resolving(keys, identity_id=identity_id)) as db:
        return person(
            identity_id,
            [
                (business_id, customer_id)
                for business_id, customer_id in db.execute(select(Customer.business_id, Customer.customer_id).where(~Customer.is_declined))
            ],
        )


def _keys(mapped: type[Base]) -> list[Any]:
    mapper = inspect(mapped)
    return [getattr(mapped, mapper.get_property_by_column(column).key) for column in mapper.primary_key]


def _count(database: Database, scope: Scope, mapped: type[Base]) -> int:
    with database.open(scope) as db:
        return db.scalar(select(func.count(_keys(mapped)[-1]))) or 0


def _rows(database: Database, scope: Scope, name: str, mapped: type[Base], mark: str) -> tuple[list[tuple[str, bytes]], str, int]:
    """Return (pieces, next mark or "" at the end, number of rows)."""
    keys = _keys(mapped)
    shown = [
        item.key
        for item in inspect(mapped).column_attrs
        if not isinstance(item.columns[0].type, LargeBinary) and not item.key.endswith(SECRET)
    ]
    query = select(*(getattr(mapped, key) for key in shown), *keys).order_by(*keys).limit(BATCH)
    if mark:
        query = query.where(tuple_(*keys) > tuple_(*json.loads(mark)))
    with database.open(scope) as db:
        found = [tuple(row) for row in db.execute(query)]
    more = len(found) == BATCH
    lines = ",\n".join(json.dumps(dict(zip(shown, row, strict=False)), ensure_ascii=False, default=_plain) for row in found)
    text = (",\n" if lines else "") if mark else "[\n"
    text += lines + ("" if more else "\n]\n")
    return [(f"{name}.json", text.encode())], json.dumps(list(found[-1][len(shown) :])) if more else "", len(found)


def _document(services: Services, scope: Scope, folder: str, mapped: Any, verb: str, mark: str) -> tuple[list[tuple[str, bytes]], str, int]:
    """Export one document: rendering is slower than reading, and may need an external system."""
    with services.database.open(scope) as db:
        found = db.execute(select(mapped.id, mapped.business_id).where(mapped.id > mark).order_by(mapped.id).limit(1)).first()
    if found is None:
        return [], "", 0
    with services.database.open(scope) as db:
        try:
            pdf, number = getattr(services.documents, verb)(db, found[0])
        except (PortalError, Unprintable):
            return [], str(found[0]), 1  # no document: a pending refund, or an external system does not provide it
    safe = "".join(item if item.isalnum() or item in "-_" else "-" for item in number)
    return [(f"{folder}/{found[1]}/{safe}.pdf", pdf)], str(found[0]), 1


def _plain(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def register(services: Services) -> None:
    lanes = Lanes(
        "person exports", services.database, lambda: due(services.database), lambda item, turn: write(services, item, turn), slots=2
    )
    services.worker.lanes.append(lanes)
    services.metrics.add_queue(lanes.name, lambda db: count_due(db, PersonExport.created_at, PersonExport.finished_at.is_(None)))
    services.handlers.on("person.export_requested", lambda _work: lanes.wake(), "auth.personal_export.wake")
    services.worker.ticks.append(Tick("old exports", timedelta(hours=1), lambda: sweep(services.database)))
