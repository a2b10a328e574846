"""Mapping files that staff uploaded to move saved payment methods to another payment account."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Index
from sqlalchemy.orm import Mapped, mapped_column

from core.models import Base, BusinessOwned, JSONType, within_business


class MethodMoveFile(Base, BusinessOwned):
    """The last file of an account. `id`: of the account whose methods move. See `billing/charging/method_move_files.py` for its states.

    `lines`: [[line number, old reference, new reference]], of which `position` were checked. `moves`: what the lines will do. Both are
    emptied in the end. `problems`: [[line number, sentence]]. `due_at`: the worker has something to do (wall clock).
    """

    __tablename__ = "method_move_files"
    __table_args__ = (
        within_business("id", "payment_accounts"),
        within_business("to_account_id", "payment_accounts"),
        Index("ix_method_move_files_due", "due_at"),
    )

    to_account_id: Mapped[str]
    state: Mapped[str]  # checking, ready, moving, moved, refused
    lines: Mapped[list[Any]] = mapped_column(JSONType, deferred=True)
    moves: Mapped[list[Any]] = mapped_column(JSONType, deferred=True)
    line_count: Mapped[int]
    position: Mapped[int]
    moved_before: Mapped[int]
    move_count: Mapped[int]
    problems: Mapped[list[Any]]
    due_at: Mapped[datetime | None]
    checked_at: Mapped[datetime | None]
    created_at: Mapped[datetime]
