"""Leases: who does a piece of work in the deployment, and until when. By the wall clock."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import delete
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Mapped, mapped_column

from core import clock
from core.db import Database
from core.models import Base
from core.scope import everything


class Lease(Base):
    """Who runs a job, and until when."""

    __tablename__ = "leases"

    name: Mapped[str] = mapped_column(primary_key=True)
    holder: Mapped[str]
    until: Mapped[datetime]


def take(database: Database, name: str, holder: str, length: timedelta) -> bool:
    """True when `holder` has the lease from now on; False while an earlier one lasts, whoever holds it."""
    at = clock.wall()
    try:
        with database.open(everything("take a lease"), write=True) as db:
            lease = db.get(Lease, name, with_for_update=not database.is_sqlite)
            if lease is None:
                db.add(Lease(name=name, holder=holder, until=at + length))
                return True
            if lease.until > at:
                return False
            lease.holder, lease.until = holder, at + length
            return True
    except IntegrityError:  # two processes wrote the first row at once; the other one has it
        return False


def release(database: Database, name: str, holder: str) -> None:
    """Give it back before its end. Nothing happens where somebody else has taken over."""
    with database.open(everything("give a lease back"), write=True) as db:
        db.execute(delete(Lease).where(Lease.name == name, Lease.holder == holder), execution_options={"synchronize_session": False})
