"""Tables of personal data exports."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKeyConstraint, LargeBinary
from sqlalchemy.orm import Mapped, mapped_column

from core.models import Base, PersonOwned


class PersonExport(Base, PersonOwned):
    """`step` and `mark`: where the next batch starts. `written` of `total` rows and documents are done."""

    __tablename__ = "person_exports"

    total: Mapped[int] = mapped_column(default=0)
    written: Mapped[int] = mapped_column(default=0)
    files: Mapped[int] = mapped_column(default=0)
    step: Mapped[int] = mapped_column(default=0)
    mark: Mapped[str] = mapped_column(default="")
    created_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]


class ExportFile(Base, PersonOwned):
    """A piece of an exported file. Pieces of one `name` are ordered by `id`."""

    __tablename__ = "person_export_files"
    __table_args__ = (ForeignKeyConstraint(["identity_id", "export_id"], ["person_exports.identity_id", "person_exports.id"]),)

    export_id: Mapped[str]
    name: Mapped[str]
    content: Mapped[bytes] = mapped_column(LargeBinary)
