"""What a payment processor says about an account: the result of checking its key, and of a test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from core.money import Money


@dataclass(frozen=True)
class AccountReport:
    """The result of checking an account. `missing`: permissions that the key lacks, in the processor's words."""

    external_id: str = ""
    live: bool = False
    currencies: Sequence[str] = ()
    missing: Sequence[str] = ()
    api_version: str = ""


@dataclass(frozen=True)
class TestPayment:
    """The result of a test of an account: a payment without a method, which nobody can pay, was opened and cancelled.

    `problem`, if that failed: key (not accepted), permission (the key lacks it), refused (for the reason in `message`), or left_open (it
    was opened, and the processor refused to cancel it).
    """

    __test__ = False  # no test of pytest

    reference: str | None = None
    amount: Money | None = None
    problem: Literal["", "key", "permission", "refused", "left_open"] = ""
    message: str = ""
