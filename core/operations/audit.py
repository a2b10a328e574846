"""Log of the operator's actions, written in the same transaction as the action."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Index, delete, select
from sqlalchemy.orm import Mapped, mapped_column

from core import clock
from core.db import Database, ScopedSession
from core.ids import new_id
from core.models import Base
from core.scope import everything

KEPT = timedelta(days=400)
SHOWN = 100


class OperatorAction(Base):
    """`subject`: the id of the work, the job's row, or a hash. `source`: the operator's network address. By the wall clock."""

    __tablename__ = "operator_actions"
    __table_args__ = (Index("ix_operator_actions_at", "at"), Index("ix_operator_actions_subject", "subject", "at"))

    id: Mapped[str] = mapped_column(primary_key=True)
    action: Mapped[str]  # signed_in, tried_again, set_aside, job_tried_again, emails_looked_up
    subject: Mapped[str]
    reason: Mapped[str | None]
    source: Mapped[str]
    at: Mapped[datetime]


def record(db: ScopedSession, action: str, subject: str, source: str, reason: str | None = None) -> None:
    """Record an action in the session of the action (scope `everything`)."""
    db.add(OperatorAction(id=new_id("opa"), action=action, subject=subject, reason=reason, source=source[:64], at=clock.wall()))


def actions(db: ScopedSession, subject: str | None = None) -> list[OperatorAction]:
    """Return the newest actions first, at most SHOWN; of one subject if given."""
    query = select(OperatorAction).order_by(OperatorAction.at.desc(), OperatorAction.id).limit(SHOWN)
    return list(db.scalars(query if subject is None else query.where(OperatorAction.subject == subject)))


def sweep(database: Database) -> int:
    """Delete actions older than KEPT. Returns the number of rows."""
    with database.open(everything("delete old operator actions"), write=True) as db:
        gone = db.execute(
            delete(OperatorAction).where(OperatorAction.at < clock.wall() - KEPT), execution_options={"synchronize_session": False}
        )
        return int(gone.rowcount)  # type: ignore[attr-defined]
