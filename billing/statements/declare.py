"""Record a statement that somebody declares on a public page. Nothing is looked up here, so that the page answers everybody alike."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from billing.model.email_address import parse_address
from billing.model.statements import Statement, digest
from billing.rights.table import cancel_rule
from core import clock, ids
from core.db import Database
from core.errors import N_, Invalid
from core.outbox import emit
from core.scope import Actor, system

NAME_LIMIT, CONTRACT_LIMIT, REASON_LIMIT = 200, 300, 2000
LATEST = dt.timedelta(days=5 * 366)
SATURDAY = 5


@dataclass(frozen=True)
class Declaration:
    """The checked fields of a statement. `wanted_on`: the earliest day on which the contract shall end; None: as soon as possible."""

    name: str
    email: str
    email_key: str
    contract: str
    is_for_cause: bool
    reason: str
    wanted_on: dt.date | None


def check(typed: Mapping[str, str]) -> Declaration:
    """Return the typed fields, checked: name, email, contract, type (ordinary, cause), reason, when (earliest, date), date.

    Raises Invalid with all fields that are wrong.
    """
    wrong: dict[str, str] = {}
    name, contract, reason = (_one_line(typed.get(field, "")) for field in ("name", "contract", "reason"))
    if not 1 <= len(name) <= NAME_LIMIT:
        wrong["name"] = N_("Enter your name.") if not name else N_("Please keep it under 200 characters.")
    if not 1 <= len(contract) <= CONTRACT_LIMIT:
        wrong["contract"] = (
            N_("Enter the product, an invoice number or a license key.") if not contract else N_("Please keep it under 300 characters.")
        )
    if len(reason) > REASON_LIMIT:
        wrong["reason"] = N_("Please keep it under 2,000 characters.")
    email = key = ""
    try:
        email, key = parse_address(typed.get("email", ""))
    except Invalid as refused:
        wrong |= refused.fields
    wanted_on = None
    if typed.get("date", "").strip() and typed.get("when") != "date" and typed.get("type") != "cause":
        wrong["date"] = N_("Choose “On a later date”, or remove the date.")
    try:
        wanted_on = _wanted_on(typed)
    except ValueError:
        wrong["date"] = N_("Enter a date within the next five years, or choose “As soon as possible”.")
    if wrong:
        raise Invalid(fields=wrong)
    return Declaration(name, email, key, contract, typed.get("type") == "cause", reason, wanted_on)


def declare(
    database: Database,
    declaration: Declaration,
    *,
    business_id: str,
    zone: str,
    country: str | None,
    language: str,
    sentence: str,
    kind: str = "cancel",
) -> Statement:
    """Store the statement and queue it for the worker. `sentence`: what was declared, in `language`. Returns the stored row.

    `kind`: cancel, withdraw.
    """
    received_at = clock.now()
    declared = {
        "business_id": business_id,
        "received_at": received_at.isoformat(),
        "sentence": sentence,
        "name": declaration.name,
        "email": declaration.email,
        "contract": declaration.contract,
        "for_cause": declaration.is_for_cause,
        "reason": declaration.reason,
        "not_before": declaration.wanted_on,
    }
    wanted_at = dt.datetime.combine(declaration.wanted_on, dt.time(), ZoneInfo(zone)) if declaration.wanted_on else None
    with database.open(system(business_id, Actor("visitor")), write=True) as db:
        row = Statement(
            business_id=business_id,
            id=ids.new_id("stm"),
            number=new_number(received_at),
            kind=kind,
            status="received",
            language=language,
            zone=zone,
            name=declaration.name,
            email=declaration.email,
            email_key=declaration.email_key,
            contract=declaration.contract,
            is_for_cause=declaration.is_for_cause,
            reason=declaration.reason,
            wanted_at=wanted_at,
            declared=sentence,
            sha256=digest(declared),
            received_at=received_at,
            answer_by=add_working_days(received_at, cancel_rule(country).answer_days),
        )
        db.add(row)
        emit(db, "statement.received", business_id=business_id, noun=row.id, data={"number": row.number})
        db.flush()
        db.expunge(row)
    return row


def new_number(at: dt.datetime) -> str:
    """Return a number such as S-261122-7KQ4M2. Its second half is random, so that it does not tell how many statements there are."""
    return f"S-{at:%y%m%d}-{ids.code_from(bytes.fromhex(ids.keyed_hash((ids.secret_token(),), 'statement', '')), 6)}"


def add_working_days(at: dt.datetime, days: int) -> dt.datetime:
    """Return the instant `days` working days later. Saturdays and Sundays do not count; public holidays do."""
    while days > 0:
        at += dt.timedelta(days=1)
        days -= int(at.weekday() < SATURDAY)
    return at


def _one_line(text: str) -> str:
    """Return the text in one line, without control characters and halves of surrogate pairs, which cannot be stored or printed."""
    plain = text.encode("utf-8", "ignore").decode()
    return " ".join("".join(c if c.isprintable() else " " for c in plain).split())


def _wanted_on(typed: Mapping[str, str]) -> dt.date | None:
    """Return the wanted day, if a later one was chosen. Good cause is with immediate effect. Raises ValueError."""
    text = typed.get("date", "").strip()
    if typed.get("when") != "date" or typed.get("type") == "cause":
        return None
    day = dt.date.fromisoformat(text)
    if day > clock.now().date() + LATEST:
        raise ValueError(text)
    return day if day > clock.now().date() else None
