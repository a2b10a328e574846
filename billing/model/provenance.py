"""Stores the origin of rows. `account_id` is None for rows made here; imported rows have the account or file they came from.

An account that is read over the network ("acc_…") is not trusted. It may change only rows of its own account, and nothing that moves
money here. `billing/imports` enforces this for every write, and the tables have constraints.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import CheckConstraint
from sqlalchemy.orm import Mapped, mapped_column

ACCOUNT_PREFIX = "acc"
_NOT_MIRRORED = "account_id IS NULL OR substr(account_id, 1, 4) <> 'acc_'"


class FromAccount:
    """Mixin of every table into which imports write. `account_id` is None for rows made here."""

    account_id: Mapped[str | None] = mapped_column(default=None)

    @property
    def is_mirrored(self) -> bool:
        """Whether the row is a copy of one in an account at another billing system, which still has it."""
        return (self.account_id or "").startswith(f"{ACCOUNT_PREFIX}_")


@dataclass(frozen=True)
class Origin:
    """The source of the records of one import. `system` is the value of `collected_by`, `held_by` and `gateway` in its rows.

    `is_mirror`: the records are read from an account over the network and are not trusted. A file is not a mirror: the operator runs the
    import, and may move subscriptions here to be collected here.
    """

    account_id: str
    system: str
    is_mirror: bool

    @classmethod
    def of_file(cls, source: str) -> Origin:
        return cls(source, source, False)


def never_collected_here(column: str, name: str) -> CheckConstraint:
    """Return a constraint: `column` of a mirrored row is never 'us'."""
    return CheckConstraint(f"{column} <> 'us' OR {_NOT_MIRRORED}", name=name)


def never_open() -> CheckConstraint:
    """Return a constraint: an imported payment is never open, because this deployment's gateway does not know it."""
    return CheckConstraint("account_id IS NULL OR NOT is_open", name="loaded")


def made_here_first(model: Any) -> Any:
    """Return an ORDER BY expression that puts rows made here before imported rows, for ids that may be ambiguous."""
    return model.account_id.is_not(None)
