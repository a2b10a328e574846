"""The test mailbox: every letter a test deployment writes, kept where one can read it. Live mode never writes here."""

from __future__ import annotations

import base64
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import Text, func, select
from sqlalchemy.orm import Mapped, mapped_column

from core import clock
from core.models import Base
from core.scope import everything

if TYPE_CHECKING:
    from core.db import Database
    from core.mail import Letter

SHOWN = 200


class MailboxLetter(Base):
    """A plain table: only `everything` may touch it. `attachments`: [{filename, content_type, data (base64)}]."""

    __tablename__ = "mailbox"

    id: Mapped[str] = mapped_column(primary_key=True)
    to: Mapped[str] = mapped_column(index=True)
    subject: Mapped[str]
    text: Mapped[str] = mapped_column(Text)
    html: Mapped[str] = mapped_column(Text)
    attachments: Mapped[list] = mapped_column(default=list)
    created_at: Mapped[datetime] = mapped_column(index=True)


def put(database: Database, id: str, letter: Letter) -> None:
    """Keep a letter once: a retry with the same id changes nothing."""
    with database.open(everything(why="test mailbox"), write=True) as db:
        if db.get(MailboxLetter, id) is None:
            db.add(MailboxLetter(
                id=id, to=letter.to, subject=letter.subject, text=letter.text, html=letter.html, created_at=clock.wall(),
                attachments=[{"filename": one.filename, "content_type": one.content_type, "data": base64.b64encode(one.data).decode()}
                             for one in letter.attachments],
            ))


def letters(database: Database, to: str = "") -> list[MailboxLetter]:
    """The newest first, at most 200; `to` narrows to one address, however it is written."""
    query = select(MailboxLetter).order_by(MailboxLetter.created_at.desc(), MailboxLetter.id).limit(SHOWN)
    if to:
        query = query.where(func.lower(MailboxLetter.to) == to.lower())
    with database.open(everything(why="test mailbox")) as db:
        return list(db.scalars(query))


def letter(database: Database, id: str) -> MailboxLetter | None:
    with database.open(everything(why="test mailbox")) as db:
        return db.scalar(select(MailboxLetter).where(MailboxLetter.id == id))
