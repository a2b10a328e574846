"""Moves saved payment methods to another payment account of their business, as a mapping file of the processor says.

The whole file is checked, then applied in one transaction or not at all. What was moved before is skipped, so that a file can be given
twice. A line is refused unless the new account has the method, for the same customer, with the same last four digits.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from billing.charging.gateway_operations import GatewayOperations
from billing.charging.method_details import event_data, renew_details
from billing.charging.ports import Gateway, MethodDetails
from billing.model.events import emit_about
from billing.model.payment_accounts import PaymentAccount, ProcessorCustomer
from billing.model.payments import Payment, PaymentMethod
from core.db import ScopedSession
from core.errors import N_, Conflict, NotFound
from core.ids import new_id
from core.scope import system

MOST_LINES = 100_000
REFERENCE = re.compile(r"[!-~]{1,255}")
"""A processor's id: visible ASCII without spaces."""


@dataclass(frozen=True)
class MoveLine:
    """A line of the file: the reference at the old account, and the one at the new account."""

    number: int
    old: str
    new: str


@dataclass(frozen=True)
class Move:
    line: MoveLine
    method_id: str
    customer_id: str
    details: MethodDetails


class BadLines(Exception):
    """`problems`: (line number, sentence). Nothing was moved."""

    def __init__(self, problems: Sequence[tuple[int, str]]) -> None:
        self.problems = list(problems)
        super().__init__(f"{len(self.problems)} lines cannot be moved")


@dataclass(frozen=True)
class AccountPair:
    business_id: str
    old: str
    new: str


def read_lines(text: str, most: int | None = None) -> list[MoveLine]:
    """Read JSON lines or CSV with a header; both have the fields `old` and `new`. Raises BadLines, also for more lines than `most`."""
    text = text.removeprefix("\ufeff")
    found: list[tuple[int, Any]] = []
    if text.lstrip().startswith("{"):
        for number, part in enumerate(text.splitlines(), 1):
            if part.strip():
                try:
                    found.append((number, json.loads(part)))
                except (ValueError, RecursionError):
                    found.append((number, None))
    else:
        reader = csv.DictReader(io.StringIO(text, newline=""))
        try:
            for row in reader:
                found.append((reader.line_num, row))
        except csv.Error as wrong:  # a field of more than 128 KB, or a byte 0
            raise BadLines([(reader.line_num + 1, N_("This line cannot be read as CSV."))]) from wrong
    problems: list[tuple[int, str]] = []
    lines: list[MoveLine] = []
    seen: set[str] = set()
    for number, row in found:
        values = [row.get(name) for name in ("old", "new")] if isinstance(row, dict) else []
        if len(values) != 2 or not all(isinstance(value, str) and value.strip() for value in values):
            problems.append((number, N_("It needs the fields old and new.")))
            continue
        line = MoveLine(number, str(values[0]).strip(), str(values[1]).strip())
        if not (REFERENCE.fullmatch(line.old) and REFERENCE.fullmatch(line.new)):
            problems.append((number, N_("A reference has characters that no processor uses.")))
            continue
        if {f"old {line.old}", f"new {line.new}"} & seen:
            problems.append((number, N_("A reference is in the file twice.")))
        seen |= {f"old {line.old}", f"new {line.new}"}
        lines.append(line)
    most = MOST_LINES if most is None else most
    if len(lines) > most:
        problems.append((lines[most].number, N_("The file has too many lines.")))
    if problems or not lines:
        raise BadLines(problems or [(1, N_("The file has no lines."))])
    return lines


def move_methods(processor: GatewayOperations, accounts: AccountPair, lines: Sequence[MoveLine]) -> tuple[int, int]:
    """Move the methods. Returns how many were moved, and how many had been moved before. Asks the new account about each of them.

    Raises BadLines, NotFound, Conflict (the new account takes no charges), and Unavailable if the processor does not answer. Then nothing
    was moved.
    """
    problems: list[tuple[int, str]] = []
    with processor.database.open(system(accounts.business_id)) as db:
        check_accounts(processor, db, accounts)
        known = [(line, find_method(db, accounts, line, problems)) for line in lines]
    gateway = processor.gateway_of((accounts.business_id, accounts.new))
    moves = []
    for line, method in known:
        if method is None:
            continue
        move = described(gateway, line, method, problems)
        if move is not None:
            moves.append(move)
    if problems:
        raise BadLines(sorted(problems))
    with processor.database.open(system(accounts.business_id), write=True) as db:
        check_accounts(processor, db, accounts)
        for move in moves:
            apply_move(db, accounts, move, problems)
        if problems:
            raise BadLines(sorted(problems))  # the transaction is rolled back
    return len(moves), len(lines) - len(moves)


def check_accounts(processor: GatewayOperations, db: ScopedSession, accounts: AccountPair) -> None:
    found = {row.id: row for row in db.scalars(select(PaymentAccount).where(PaymentAccount.id.in_([accounts.old, accounts.new])))}
    if len(found) != 2:  # also if both are the same
        raise NotFound(sentence=N_("There is no such payment account."))
    new = found[accounts.new]
    if new.state != "open" or new.kind not in processor.accounts.kinds:
        raise Conflict("UNSUPPORTED_ACTION", N_("This account takes no new charges."))


def find_method(db: ScopedSession, accounts: AccountPair, line: MoveLine, problems: list[tuple[int, str]]) -> PaymentMethod | None:
    """Return the method to move, None for one that was moved before and for one with a problem."""
    at_new = db.scalar(select(PaymentMethod).where(PaymentMethod.payment_account_id == accounts.new, PaymentMethod.reference == line.new))
    if at_new is not None:
        if at_new.former_reference != line.old:
            problems.append((line.number, N_("The new reference belongs to another saved method.")))
        return None
    moved = select(PaymentMethod.id).where(
        PaymentMethod.payment_account_id == accounts.new, PaymentMethod.former_reference == line.old, PaymentMethod.held_by == "us"
    )
    if db.scalar(moved.limit(1)) is not None:  # moved before, and added again there since
        return None
    method = db.scalar(
        select(PaymentMethod).where(
            PaymentMethod.payment_account_id == accounts.old,
            PaymentMethod.reference == line.old,
            PaymentMethod.held_by == "us",
            PaymentMethod.removed_at.is_(None),
        )
    )
    if method is None:
        problems.append((line.number, N_("The old account has no saved method with the old reference.")))
    elif _is_in_use(db, method):
        problems.append((line.number, N_("A payment with this method is open. Try again when it is settled.")))
    else:
        return method
    return None


def described(gateway: Gateway, line: MoveLine, method: PaymentMethod, problems: list[tuple[int, str]]) -> Move | None:
    """Ask the new account about the method of a line. None if it has a problem. Raises Unavailable."""
    details = gateway.describe(line.new)
    problem = difference(method, details)
    if details is None or problem:
        problems.append((line.number, problem or N_("The new account has no such saved method.")))
        return None
    return Move(line, method.id, method.customer_id, details)


def difference(method: PaymentMethod, details: MethodDetails | None) -> str:
    if details is None:
        return ""
    if not details.customer_reference:
        return N_("At the new account, the method belongs to no customer.")
    if details.kind != method.kind or (method.last4 and details.last4 != method.last4):
        return N_("At the new account, this is another card or bank account.")
    return ""


def apply_move(db: ScopedSession, accounts: AccountPair, move: Move, problems: list[tuple[int, str]]) -> None:
    method = db.scalar(select(PaymentMethod).where(PaymentMethod.id == move.method_id).with_for_update())
    here = (accounts.old, move.line.old)
    if method is None or (method.payment_account_id, method.reference) != here or method.removed_at is not None or _is_in_use(db, method):
        problems.append((move.line.number, N_("The method changed meanwhile. Try again.")))
        return
    at_new = ProcessorCustomer.payment_account_id == accounts.new
    buyer = str(move.details.customer_reference)
    owner = db.scalar(select(ProcessorCustomer.customer_id).where(at_new, ProcessorCustomer.reference == buyer))
    known = db.scalar(select(ProcessorCustomer.reference).where(at_new, ProcessorCustomer.customer_id == method.customer_id))
    if owner not in (None, method.customer_id) or known not in (None, buyer):
        problems.append((move.line.number, N_("At the new account, the method belongs to another customer.")))
        return
    if known is None:
        db.add(
            ProcessorCustomer(
                business_id=accounts.business_id,
                id=new_id("pcu"),
                customer_id=method.customer_id,
                payment_account_id=accounts.new,
                reference=buyer,
            )
        )
    method.payment_account_id, method.reference, method.former_reference = accounts.new, move.line.new, move.line.old
    renew_details(method, move.details)
    emit_about(db, method, "payment_method.moved", **event_data(method))
    db.flush()


def _is_in_use(db: ScopedSession, method: PaymentMethod) -> bool:
    return db.scalar(select(Payment.id).where(Payment.payment_method_id == method.id, Payment.is_open).limit(1)) is not None
