"""The statement of a withdrawal that a signed-in customer confirms. It is stored with what it does, in one transaction."""

from __future__ import annotations

from billing.model.parties import Customer
from billing.model.statements import Statement, digest
from billing.rights.table import cancel_rule
from billing.statements.declare import add_working_days, new_number
from core import clock, ids
from core.db import ScopedSession
from core.outbox import emit


def add_statement(db: ScopedSession, customer: Customer, *, contract: str, sentence: str, language: str, zone: str, item: str) -> Statement:
    """Add a received statement of the customer. `sentence`: what was declared, in `language`. `item`: the id that it is about."""
    at = clock.now()
    declared = {
        "business_id": customer.business_id,
        "received_at": at.isoformat(),
        "sentence": sentence,
        "name": customer.name,
        "email": customer.email,
        "contract": contract,
        "about": item,
    }
    row = Statement(
        business_id=customer.business_id,
        id=ids.new_id("stm"),
        number=new_number(at),
        kind="withdraw",
        status="received",
        language=language,
        zone=zone,
        name=customer.name,
        email=customer.email,
        email_key=customer.email_key,
        contract=contract,
        is_for_cause=False,
        reason="",
        declared=sentence,
        sha256=digest(declared),
        received_at=at,
        answer_by=add_working_days(at, cancel_rule(None).answer_days),
        matched_by="signed_in",
    )
    db.add(row)
    emit(db, "statement.received", business_id=customer.business_id, noun=row.id, data={"number": row.number})
    db.flush()
    return row
