"""Leases: at most one process of the deployment does a piece of work at a time. By the wall clock."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import delete
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Mapped, mapped_column

from core import clock
from core.db import Database
from core.models import Base
from core.scope import everything


class Lease(Base):
    """The holder of a named lease and its end."""

    __tablename__ = "leases"

    name: Mapped[str] = mapped_column(primary_key=True)
    holder: Mapped[str]
    until: Mapped[datetime]


def take(database: Database, name: str, holder: str, length: timedelta) -> bool:
    """Take the lease for `holder`. Returns False while an earlier lease lasts, even of the same holder.

    One statement, so that two processes can take a new lease at the same time without a unique violation.
    """
    at = clock.wall()
    insert = sqlite.insert if database.is_sqlite else postgresql.insert
    wanted = insert(Lease).values(name=name, holder=holder, until=at + length)
    taken = wanted.on_conflict_do_update(
        index_elements=[Lease.name], set_={"holder": wanted.excluded.holder, "until": wanted.excluded.until}, where=Lease.until <= at
    ).returning(Lease.name)
    with database.open(everything("take a lease"), write=True) as db:
        return db.execute(taken).scalar() is not None


def release(database: Database, name: str, holder: str) -> None:
    """End a lease early. Does nothing if another holder has it."""
    with database.open(everything("release a lease"), write=True) as db:
        db.execute(delete(Lease).where(Lease.name == name, Lease.holder == holder), execution_options={"synchronize_session": False})
