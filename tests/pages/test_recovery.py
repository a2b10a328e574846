"""Lost addresses are found by a receipt, and only ever by a letter to the address on file; asks that prove nothing are counted."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from typing import Any

import pytest
from sqlalchemy import select

from auth import bots
from auth.models import Budget
from auth.recovery import Recovery, _owners
from billing.invoices import Invoice
from billing.licences import LicenseKey
from core import guard
from core.scope import everything


def facts(house: Any, cast: Any) -> tuple[str, str]:
    with house.database.open(everything("what Ada's receipt says")) as db:
        key = db.scalars(select(LicenseKey.key).where(LicenseKey.customer_id == cast.ada_at_acorn.customer_id)).first()
        number = db.scalars(select(Invoice.number).where(Invoice.customer_id == cast.ada_at_acorn.customer_id)).first()
    return key, number


def test_a_receipt_finds_the_address_by_letter_only(cast: Any, visitor: Any, house: Any) -> None:
    key, number = facts(house, cast)
    mallory = visitor()
    pages = []
    for typed in (number, "INV-99999", "nothing of the kind"):
        mallory.get("/login/recovery")
        page = mallory.submit("/login/recovery", receipt=typed)
        assert cast.ADA not in page.text and "marlow" not in page.text
        pages.append(page.soup.find("main").get_text(" ", strip=True))
    assert len(set(pages)) == 1  # the same answer, whatever was typed
    house.worker.drain()
    told = [letter for letter in mallory.letters() if "bought with this address" in letter.subject]
    assert [letter.to.lower() for letter in told] == [cast.ADA]
    assert number not in told[0].text and "/login/link" not in told[0].text
    with house.database.open(everything("nothing is kept")) as db:
        assert db.scalars(select(Recovery)).all() == []

    # at another business's door it is nothing; at its own it is found, by the key as well
    for business_id, count in ((cast.birch, 1), (cast.acorn, 2)):
        mallory.get(f"/login/{business_id}/recovery")
        mallory.submit("/recovery", receipt=key or number)
        house.worker.drain()
        assert len([one for one in mallory.letters() if "bought with this address" in one.subject]) == count
    mallory.get("/login/recovery")
    assert "as it stands" in mallory.submit("/login/recovery", receipt=" ", expect=422).text


def test_work_is_good_once_and_asks_without_are_counted(cast: Any, house: Any) -> None:
    check = bots.ProofOfWork(house.settings, house.database, hardest=400)
    asked = json.loads(check.widget()["challenge"])
    number = next(n for n in range(401) if hashlib.sha256(f"{asked['salt']}{n}".encode()).hexdigest() == asked["challenge"])
    solved = base64.b64encode(json.dumps({**{name: asked[name] for name in ("algorithm", "challenge", "salt", "signature")},
                                          "number": number}).encode()).decode()
    wrong = base64.b64encode(json.dumps({**asked, "number": number + 1}).encode()).decode()
    forged = base64.b64encode(json.dumps({**asked, "number": number, "signature": "0" * 64}).encode()).decode()
    assert [check.passes({"work": one}, None) for one in ("", "junk", wrong, forged, solved, solved)] == [False] * 4 + [True, False]

    spaced = base64.b64encode(b" " + base64.b64decode(solved)).decode()  # the same proof in other clothes is used up as well
    figures = json.dumps({"algorithm": "SHA-256", "challenge": 1, "number": 1, "salt": 1, "signature": 1}).encode()
    odd = [base64.b64encode(text).decode() for text in (b"[" * 1400, figures)]
    assert not any(check.passes({"work": one}, None) for one in (spaced, *odd))

    far = "203.0.113.9"
    assert all(bots.may_ask(check, house.database, house.settings, {}, far) for _ in range(3))
    with house.database.open(everything("a test fills the hour"), write=True) as db:
        db.scalars(select(Budget).where(Budget.key == "asks:unproven")).one().count = bots.UNPROVEN_AN_HOUR
    assert not bots.may_ask(check, house.database, house.settings, {}, far)
    asked = json.loads(check.widget()["challenge"])
    number = next(n for n in range(401) if hashlib.sha256(f"{asked['salt']}{n}".encode()).hexdigest() == asked["challenge"])
    solved = base64.b64encode(json.dumps({**asked, "number": number}).encode()).decode()
    assert bots.may_ask(check, house.database, house.settings, {"work": solved}, far)  # who worked is not held up by who did not


@pytest.mark.parametrize(("column", "index"), [(Invoice.number, "ix_invoices_number"), (LicenseKey.match_key, "ix_license_keys_match")])
def test_what_is_on_a_receipt_is_found_by_an_index(cast: Any, house: Any, column: Any, index: str) -> None:
    """Or else an anonymous form makes the worker read every invoice of every business."""
    with house.database.open(everything("how a receipt is found")) as db, guard.raw_sql():
        query = _owners(column, "INV-0001", None)
        sql = str(query.compile(db.connection(), compile_kwargs={"literal_binds": True}))
        if house.database.is_sqlite:
            plan = str(db.connection().exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}").all())
        else:  # it would rather read the few rows of a test as they lie
            db.connection().exec_driver_sql("SET LOCAL enable_seqscan = off")
            plan = "\n".join(row[0] for row in db.connection().exec_driver_sql(f"EXPLAIN {sql}"))
    assert re.search(rf"USING INDEX {index} |Index Scan using {index} ", plan), plan
