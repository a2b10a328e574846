"""Lost addresses are recovered with a receipt, only by an email to the address on file. Requests without proof are limited."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from typing import Any

import pytest
from sqlalchemy import select

from auth import bot_check
from auth.models import RateLimitCount
from auth.recovery import Recovery, _owners
from billing.model.invoices import Invoice
from billing.model.licenses import LicenseKey
from core import guard
from core.scope import everything


def facts(services: Any, cast: Any) -> tuple[str, str]:
    with services.database.open(everything("what Ada's receipt says")) as db:
        key = db.scalars(select(LicenseKey.key).where(LicenseKey.customer_id == cast.ada_at_acorn.customer_id)).first()
        number = db.scalars(select(Invoice.number).where(Invoice.customer_id == cast.ada_at_acorn.customer_id)).first()
    return key, number


def test_a_receipt_recovers_the_address_by_email_only(cast: Any, visitor: Any, services: Any) -> None:
    key, number = facts(services, cast)
    mallory = visitor()
    pages = []
    for typed in (number, "INV-99999", "nothing of the kind"):
        mallory.get("/login/recovery")
        page = mallory.submit("/login/recovery", receipt=typed)
        assert cast.ADA not in page.text and "marlow" not in page.text
        pages.append(page.soup.find("main").get_text(" ", strip=True))
    assert len(set(pages)) == 1  # the same answer, whatever was typed
    services.worker.drain()
    told = [message for message in mallory.emails() if "something with this address" in message.subject]
    assert [message.to.lower() for message in told] == [cast.ADA]
    assert number not in told[0].text and "/login/link" not in told[0].text
    with services.database.open(everything("nothing is kept")) as db:
        assert db.scalars(select(Recovery)).all() == []

    # at another business's door it is nothing; at its own it is found, by the key as well
    for business_id, count in ((cast.birch, 1), (cast.acorn, 2)):
        mallory.get(f"/login/{business_id}/recovery")
        mallory.submit("/recovery", receipt=key or number)
        services.worker.drain()
        assert len([email for email in mallory.emails() if "something with this address" in email.subject]) == count
    mallory.get("/login/recovery")
    assert "exactly as on your receipt" in mallory.submit("/login/recovery", receipt=" ", expect=422).text


def test_a_proof_of_work_is_valid_once(cast: Any, services: Any) -> None:
    check = bot_check.ProofOfWork(services.settings, services.database, hardest=400)
    asked = json.loads(check.widget()["challenge"])
    number = next(n for n in range(401) if hashlib.sha256(f"{asked['salt']}{n}".encode()).hexdigest() == asked["challenge"])
    solved = base64.b64encode(
        json.dumps({**{name: asked[name] for name in ("algorithm", "challenge", "salt", "signature")}, "number": number}).encode()
    ).decode()
    wrong = base64.b64encode(json.dumps({**asked, "number": number + 1}).encode()).decode()
    forged = base64.b64encode(json.dumps({**asked, "number": number, "signature": "0" * 64}).encode()).decode()
    assert [check.passes({"work": item}, None) for item in ("", "junk", wrong, forged, solved, solved)] == [False] * 4 + [True, False]

    spaced = base64.b64encode(b" " + base64.b64decode(solved)).decode()  # the same proof in another encoding is used as well
    figures = json.dumps({"algorithm": "SHA-256", "challenge": 1, "number": 1, "salt": 1, "signature": 1}).encode()
    odd = [base64.b64encode(text).decode() for text in (b"[" * 1400, figures)]
    assert not any(check.passes({"work": item}, None) for item in (spaced, *odd))

    far = "203.0.113.9"
    assert all(bot_check.may_request(check, services.database, services.settings, {}, far) for _ in range(3))
    with services.database.open(everything("a test fills the hour"), write=True) as db:
        db.scalars(select(RateLimitCount).where(RateLimitCount.key == "unchecked:all")).one().count = bot_check.UNPROVEN_AN_HOUR
    assert not bot_check.may_request(check, services.database, services.settings, {}, far)
    asked = json.loads(check.widget()["challenge"])
    number = next(n for n in range(401) if hashlib.sha256(f"{asked['salt']}{n}".encode()).hexdigest() == asked["challenge"])
    solved = base64.b64encode(json.dumps({**asked, "number": number}).encode()).decode()
    assert bot_check.may_request(
        check, services.database, services.settings, {"work": solved}, far
    )  # requests with a proof are not limited by those without


@pytest.mark.parametrize(("column", "index"), [(Invoice.number, "ix_invoices_number"), (LicenseKey.match_key, "ix_license_keys_match")])
def test_receipt_details_are_found_by_an_index(cast: Any, services: Any, column: Any, index: str) -> None:
    """Otherwise an anonymous form could make the worker read every invoice."""
    with services.database.open(everything("how a receipt is found")) as db, guard.raw_sql():
        query = _owners(column, "INV-0001", None)
        sql = str(query.compile(db.connection(), compile_kwargs={"literal_binds": True}))
        if services.database.is_sqlite:
            plan = str(db.connection().exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}").all())
        else:  # with the few rows of a test the planner would not use the index
            db.connection().exec_driver_sql("SET LOCAL enable_seqscan = off")
            plan = "\n".join(row[0] for row in db.connection().exec_driver_sql(f"EXPLAIN {sql}"))
    assert re.search(rf"USING INDEX {index} |Index Scan using {index} ", plan), plan
