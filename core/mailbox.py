"""The test mailbox: stores every email of a test deployment for reading. Live mode never writes to it."""

from __future__ import annotations

import base64
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import Text, func, select
from sqlalchemy.orm import Mapped, mapped_column

from core import clock
from core.models import Base
from core.scope import everything

if TYPE_CHECKING:
    from core.db import Database
    from core.mail import EmailMessage

SHOWN = 200


class MailboxEmail(Base):
    """Accessible only under `everything`. `attachments`: [{filename, content_type, data (base64)}]."""

    __tablename__ = "mailbox"

    id: Mapped[str] = mapped_column(primary_key=True)
    to: Mapped[str] = mapped_column(index=True)
    subject: Mapped[str]
    text: Mapped[str] = mapped_column(Text)
    html: Mapped[str] = mapped_column(Text)
    attachments: Mapped[list[Any]] = mapped_column(default=list)
    created_at: Mapped[datetime] = mapped_column(index=True)


def put(database: Database, id: str, message: EmailMessage) -> None:
    """Store an email. Idempotent: a second call with the same id changes nothing."""
    with database.open(everything(why="test mailbox"), write=True) as db:
        if db.get(MailboxEmail, id) is None:
            db.add(
                MailboxEmail(
                    id=id,
                    to=message.to,
                    subject=message.subject,
                    text=message.text,
                    html=message.html,
                    created_at=clock.wall(),
                    attachments=[
                        {
                            "filename": attachment.filename,
                            "content_type": attachment.content_type,
                            "data": base64.b64encode(attachment.data).decode(),
                        }
                        for attachment in message.attachments
                    ],
                )
            )


def recent_emails(database: Database, to: str = "") -> list[MailboxEmail]:
    """Return at most 200 emails, newest first. `to` filters by address, ignoring case."""
    query = select(MailboxEmail).order_by(MailboxEmail.created_at.desc(), MailboxEmail.id).limit(SHOWN)
    if to:
        query = query.where(func.lower(MailboxEmail.to) == to.lower())
    with database.open(everything(why="test mailbox")) as db:
        return list(db.scalars(query))


def find_email(database: Database, id: str) -> MailboxEmail | None:
    with database.open(everything(why="test mailbox")) as db:
        return db.scalar(select(MailboxEmail).where(MailboxEmail.id == id))
