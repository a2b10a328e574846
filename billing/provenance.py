"""Where a row comes from. `account_id` is empty for what was made here; loaded rows carry the account or file they came from.

An account that is read over the network ("acc_…") is a stranger: it may change rows of its own account, and nothing that moves
money here. `billing/commands/loading` enforces it for every write, and the tables have constraints of their own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import CheckConstraint
from sqlalchemy.orm import Mapped, mapped_column

ACCOUNT_PREFIX = "acc"
_NOT_MIRRORED = "account_id IS NULL OR substr(account_id, 1, 4) <> 'acc_'"


class FromAccount:
    """Mixin of every table that loading writes. None: made here."""

    account_id: Mapped[str | None] = mapped_column(default=None)


@dataclass(frozen=True)
class Origin:
    """Who tells the records of one load. `system` is what `collected_by`, `held_by` and `gateway` say of its rows.

    `is_mirror`: an account that is asked over the network, whose answers are input from outside. A file is not a mirror: the
    operator runs the import, and may hand over subscriptions to be collected here.
    """

    account_id: str
    system: str
    is_mirror: bool

    @classmethod
    def of_file(cls, source: str) -> Origin:
        return cls(source, source, False)


def never_collected_here(column: str, name: str) -> CheckConstraint:
    """`column` of a mirrored row never says 'us'."""
    return CheckConstraint(f"{column} <> 'us' OR {_NOT_MIRRORED}", name=name)


def never_open() -> CheckConstraint:
    """A loaded payment is never open: this deployment's gateway is not asked about it."""
    return CheckConstraint("account_id IS NULL OR NOT is_open", name="loaded")


def made_here_first(model: Any) -> Any:
    """For ORDER BY where an id may be ambiguous: a row that was made here comes before a loaded one."""
    return model.account_id.is_not(None)
