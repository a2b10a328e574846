"""Moves saved payment methods by a file that an owner uploaded in the console. The worker checks the file and applies it.

States: `checking` (the worker asks the new account about each line), `ready` (an owner has to confirm), `moving` (the worker applies
it), `moved`, and `refused` (it has problems; nothing was moved). No request thread asks the processor. An unanswered line is asked
about again, until the file is replaced or discarded.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import undefer

from billing.charging.gateway_operations import GatewayOperations
from billing.charging.method_moves import AccountPair, BadLines, Move, MoveLine, apply_move, check_accounts, described, find_method
from billing.charging.payment_accounts import emit_about, load_account
from billing.charging.ports import MethodDetails
from billing.model.method_move_files import MethodMoveFile
from core import clock
from core.db import ScopedSession
from core.errors import N_, Conflict, NotFound, PortalError, Unavailable
from core.scope import everything, system

MOST_LINES, MOST_BYTES = 2_000, 512 * 1024
"""Of an uploaded file, which is applied in one transaction. Operators move more with the command `processors move-methods`."""
VALID = timedelta(hours=1)
"""After its check, a file is checked again before it is applied: the methods at the new account may have changed."""
STEP = 20
"""Lines that are checked before their results are stored."""


def start(processor: GatewayOperations, db: ScopedSession, accounts: AccountPair, lines: Sequence[MoveLine]) -> None:
    """Let the worker check a file, in place of an earlier one of the account. Raises NotFound, Conflict (an account, or a file moves)."""
    row, _details = load_account(db, accounts.old)
    check_accounts(processor, db, accounts)
    if row.state == "open":
        raise Conflict("UNSUPPORTED_ACTION", N_("Stop charges at this account first."))
    file = _read(db, accounts.old)
    if file is not None and file.state == "moving":
        raise Conflict("UNSUPPORTED_ACTION", N_("A file is being applied. Wait until it is done."))
    if file is None:
        file = MethodMoveFile(business_id=accounts.business_id, id=accounts.old)
        db.add(file)
    file.to_account_id, file.state, file.created_at = accounts.new, "checking", clock.wall()
    file.lines, file.line_count = [[line.number, line.old, line.new] for line in lines], len(lines)
    _begin(file)
    emit_about(db, "payment_account.move_requested", row)


def _begin(file: MethodMoveFile) -> None:
    """Check the file from its first line."""
    file.state, file.position, file.moved_before, file.move_count = "checking", 0, 0, 0
    file.moves, file.problems, file.checked_at, file.due_at = [], [], None, clock.wall()


def confirm(db: ScopedSession, account_id: str, seen: str) -> bool:
    """Let the worker apply a checked file. `seen`: `checked_at` of the file that was confirmed. Returns False if it is checked again first.

    Raises NotFound, Conflict (another file, or it is not ready).
    """
    row, _details = load_account(db, account_id)
    file = _locked(db, account_id)
    if file.state != "ready" or file.checked_at is None or file.checked_at.isoformat() != seen:
        raise Conflict("UNSUPPORTED_ACTION", N_("This file has changed in the meantime. Look at it again."))
    if clock.wall() - file.checked_at > VALID:
        _begin(file)
        return False
    file.state, file.due_at = "moving", clock.wall()
    emit_about(db, "payment_account.move_confirmed", row)
    return True


def discard(db: ScopedSession, account_id: str) -> None:
    """Remove the file of an account, unless it is being applied. Raises NotFound, Conflict."""
    load_account(db, account_id)
    file = _locked(db, account_id)
    if file.state == "moving":
        raise Conflict("UNSUPPORTED_ACTION", N_("A file is being applied. Wait until it is done."))
    db.delete(file)


def last_file(db: ScopedSession, account_id: str) -> MethodMoveFile | None:
    """Return the last file of an account, without its lines."""
    return db.scalar(select(MethodMoveFile).where(MethodMoveFile.id == account_id))


def work(processor: GatewayOperations, business_id: str, account_id: str, is_over: Callable[[], bool]) -> bool:
    """Check or apply the file of an account until it is done or the turn `is_over`. Returns whether the processor answered. Idempotent."""
    while not is_over():
        with processor.database.open(system(business_id)) as db:
            file = _read(db, account_id)
        if file is None or file.due_at is None:
            return True
        accounts = AccountPair(business_id, account_id, file.to_account_id)
        if file.state == "moving":
            _move(processor, accounts)
            return True
        try:
            _check(processor, accounts, file)
        except Unavailable:
            return False
    return True


def _check(processor: GatewayOperations, accounts: AccountPair, file: MethodMoveFile) -> None:
    """Check the next lines and store the results, unless the file was replaced meanwhile."""
    problems: list[tuple[int, str]] = []
    lines = [MoveLine(*values) for values in file.lines[file.position : file.position + STEP]]
    moves: list[Move] = []
    before = 0
    try:
        with processor.database.open(system(accounts.business_id)) as db:
            check_accounts(processor, db, accounts)
            known = [(line, find_method(db, accounts, line, problems)) for line in lines]
        gateway = processor.gateway_of((accounts.business_id, accounts.new))
        wrong = {number for number, _ in problems}
        for line, method in known:
            if method is not None:
                move = described(gateway, line, method, problems)
                moves += [move] if move is not None else []
            elif line.number not in wrong:
                before += 1
    except Unavailable:
        raise
    except PortalError as refused:  # the new account takes no charges any more
        problems.append((0, refused.sentence))
    with processor.database.open(system(accounts.business_id), write=True) as db:
        now = _read(db, accounts.old, lock=True)
        if now is None or (now.created_at, now.state, now.position) != (file.created_at, "checking", file.position):
            return
        now.problems = [*now.problems, *(list(item) for item in problems)]
        now.moves = [*now.moves, *(_stored(move) for move in moves)]
        now.position, now.moved_before, now.move_count = now.position + len(lines), now.moved_before + before, len(now.moves)
        if now.position >= now.line_count or (0 in dict(problems)):
            now.checked_at, now.due_at = clock.wall(), None
            now.state = "refused" if now.problems else "ready" if now.move_count else "moved"
            if now.state != "ready":
                now.lines, now.moves = [], []


def _move(processor: GatewayOperations, accounts: AccountPair) -> None:
    """Apply a confirmed file in one transaction, or store why nothing of it was moved."""
    problems: list[tuple[int, str]] = []
    try:
        with processor.database.open(system(accounts.business_id), write=True) as db:
            file = _read(db, accounts.old, lock=True)
            if file is None or file.state != "moving":
                return
            check_accounts(processor, db, accounts)
            for values in file.moves:
                apply_move(db, accounts, _restored(values), problems)
            if problems:
                raise BadLines(problems)  # the transaction is rolled back
            _end(file, "moved", [])
    except BadLines as bad:
        _refuse(processor, accounts, bad.problems)
    except PortalError as refused:
        _refuse(processor, accounts, [(0, refused.sentence)])


def _refuse(processor: GatewayOperations, accounts: AccountPair, problems: Sequence[tuple[int, str]]) -> None:
    with processor.database.open(system(accounts.business_id), write=True) as db:
        file = _read(db, accounts.old, lock=True)
        if file is not None and file.state == "moving":
            _end(file, "refused", problems)


def _end(file: MethodMoveFile, state: str, problems: Sequence[tuple[int, str]]) -> None:
    file.state, file.problems, file.due_at = state, [list(item) for item in problems], None
    file.lines, file.moves = [], []


def _stored(move: Move) -> list[Any]:
    details = asdict(move.details)
    details["mandate_at"] = move.details.mandate_at.isoformat() if move.details.mandate_at else None
    return [move.line.number, move.line.old, move.line.new, move.method_id, move.customer_id, details]


def _restored(values: Sequence[Any]) -> Move:
    number, old, new, method_id, customer_id, details = values
    at = details["mandate_at"]
    known = MethodDetails(**{**details, "mandate_at": datetime.fromisoformat(at) if at else None})
    return Move(MoveLine(number, old, new), method_id, customer_id, known)


def _read(db: ScopedSession, account_id: str, *, lock: bool = False) -> MethodMoveFile | None:
    query = select(MethodMoveFile).options(undefer(MethodMoveFile.lines), undefer(MethodMoveFile.moves))
    query = query.where(MethodMoveFile.id == account_id)
    return db.scalar(query.with_for_update() if lock else query)


def _locked(db: ScopedSession, account_id: str) -> MethodMoveFile:
    file = _read(db, account_id, lock=True)
    if file is None:
        raise NotFound(sentence=N_("There is no such file."))
    return file


def due_businesses(processor: GatewayOperations, limit: int) -> list[str]:
    """Return the ids of businesses with a file to check or to apply, the longest waiting first."""
    with processor.database.open(everything("businesses whose payment methods move")) as db:
        found = select(MethodMoveFile.business_id).where(MethodMoveFile.due_at <= clock.wall()).group_by(MethodMoveFile.business_id)
        return list(db.scalars(found.order_by(func.min(MethodMoveFile.due_at)).limit(limit)))


def due_files(processor: GatewayOperations, business_id: str) -> list[str]:
    """Return the ids of the accounts of a business with a file to check or to apply."""
    with processor.database.open(system(business_id)) as db:
        due = select(MethodMoveFile.id).where(MethodMoveFile.due_at <= clock.wall())
        return list(db.scalars(due.order_by(MethodMoveFile.due_at)))
