"""Sam moves Acorn's saved cards to another account with a file: uploaded, checked by the worker, confirmed, applied."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from sqlalchemy import select

from auth.models import BrowserSession
from billing.charging import method_move_files, payment_accounts
from billing.charging.method_moves import AccountPair, read_lines
from billing.charging.payment_accounts import AccountForm
from billing.customers.customers import create_customer
from billing.model.method_move_files import MethodMoveFile
from billing.model.payment_accounts import sandbox_account_id
from billing.model.payments import PaymentMethod
from core import clock
from core.errors import Conflict, Unavailable
from core.ids import new_id
from core.outbox import Event
from core.scope import everything, system
from gateways.sandbox import SandboxGateway
from gateways.sandbox.cards import CardForm, check
from gateways.sandbox.methods import keep
from tests.pages.console_setup import Site
from tests.visitor import Page

VISA, MASTERCARD = "4242424242424242", "5555555555554444"


@pytest.fixture(params=["sqlite", "postgresql"])
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    engine: Any = request.getfixturevalue("postgres" if request.param == "postgresql" else "sqlite")
    urls, drop = engine.fresh()
    item = Site.open(urls, tmp_path_factory.mktemp("moves"))
    yield item
    item.services.database.dispose()
    drop()


class Moving:
    """Acorn with an old account without new charges, a new one, and customers whose cards are at both."""

    def __init__(self, site: Site, cards: int) -> None:
        self.site, self.old = site, sandbox_account_id(site.acorn)
        processors, form = site.services.processor.accounts, AccountForm("sandbox", "Second")
        report = payment_accounts.check_account(processors, site.acorn, form)
        with site.services.database.open(system(site.acorn), write=True) as db:
            self.new = payment_accounts.connect_account(processors, db, form, report).id
            payment_accounts.stop_charges(db, self.old)
        self.pairs = [self._card(n) for n in range(cards)]
        self.url = site.at(f"/settings/payments/{self.old}/methods")

    def _card(self, n: int) -> tuple[str, str]:
        gateway, site = self.site.services.gateway, self.site
        with site.services.database.open(system(site.acorn), write=True) as db:
            owner = create_customer(db, site.acorn, email=f"buyer{n}@people.example", name=f"Buyer {n}").customer_id
            old = gateway.save_method(owner, VISA, 6, 2040, f"Buyer {n}").reference
            db.add(PaymentMethod(
                business_id=site.acorn, customer_id=owner, id=new_id("pm"), payment_account_id=self.old, reference=old, kind="card",
                brand="visa", last4="4242", recurring=True, created_at=clock.now(),
            ))  # fmt: skip
        return old, self.copy(owner)

    def copy(self, owner: str, number: str = VISA) -> str:
        with self.site.services.gateway.store.write() as c:
            return keep(c, owner, check(CardForm(number, "06/40", None, "Buyer", "GB")), saved=True, account=self.new)

    def text(self) -> str:
        return "old,new\n" + "".join(f"{old},{new}\n" for old, new in self.pairs)

    def upload(self, text: str | bytes, expect: int = 200, **more: Any) -> Page:
        self.site.sam.get(self.url)
        raw = text if isinstance(text, bytes) else text.encode()
        return self.site.sam.submit("/methods", file=(io.BytesIO(raw), "map.csv"), expect=expect, **more)

    def work(self) -> None:
        for lanes in self.site.services.worker.lanes:
            if lanes.name == "payment method moves":
                lanes.drain()

    def file(self) -> MethodMoveFile:
        return self.site.row(MethodMoveFile, MethodMoveFile.id == self.old)  # type: ignore[no-any-return]

    def accounts(self) -> list[str]:
        found = self.site.rows(PaymentMethod, PaymentMethod.business_id == self.site.acorn, PaymentMethod.last4 == "4242")
        return [row.payment_account_id for row in found if row.reference in {item for pair in self.pairs for item in pair}]

    def start(self) -> None:
        with self.site.services.database.open(system(self.site.acorn), write=True) as db:
            between = AccountPair(self.site.acorn, self.old, self.new)
            method_move_files.start(self.site.services.processor, db, between, read_lines(self.text()))


def test_an_owner_moves_methods_with_a_file(site: Site) -> None:
    moving, sam = Moving(site, 3), site.sam
    assert "Move payment methods" in sam.get(site.at(f"/settings/payments/{moving.old}")).text
    page = moving.upload(moving.text())
    assert "Checking 0 of 3 lines" in page.text and page.response.headers["Refresh"] == "3"
    moving.work()
    page = sam.get(moving.url)
    assert "3 payment methods can move to Second." in page.text and "Refresh" not in page.response.headers
    assert moving.accounts() == [moving.old] * 3
    page = sam.submit("/confirmation")
    assert "Moving payment methods" in page.text and moving.accounts() == [moving.old] * 3
    moving.work()
    page = sam.get(moving.url)
    assert "3 payment methods were moved." in page.text and moving.accounts() == [moving.new] * 3
    moving.upload(moving.text())
    moving.work()
    page = sam.get(moving.url)
    assert "0 payment methods were moved." in page.text and "3 were moved before." in page.text
    with site.services.database.open(everything("look")) as db:
        types = [row.type for row in db.scalars(select(Event).order_by(Event.id)) if row.type.startswith("payment_account.move")]
        stored = db.execute(select(MethodMoveFile.lines, MethodMoveFile.moves)).one()
    assert types == [f"payment_account.move_{what}" for what in ("requested", "confirmed", "requested")] and tuple(stored) == ([], [])
    assert any("payment accounts: " in email.text for email in sam.emails(site.SAM))


def test_a_wrong_line_moves_nothing(site: Site) -> None:
    """Wrong lines are named at once, or after the check, or when the file is applied. A wrong file is not half applied."""
    moving, sam = Moving(site, 2), site.sam
    page = moving.upload(moving.text() + f"{moving.pairs[0][0]},sbm_9\nx\n", expect=422)
    assert "Line 4: A reference is in the file twice." in page.text and "Line 5: It needs the fields old and new." in page.text
    for raw, words in (
        (b"", "Choose a file first."), (b"\xff\xfeold", "UTF-8"), (b"old,new\n" + b"a" * 600_000, "512 KB"),
        ("".join(f'{{"old": "o{n}", "new": "n{n}"}}\n' for n in range(2001)).encode(), "too many lines"),
    ):  # fmt: skip
        assert words in moving.upload(raw, expect=422).text
    assert "Choose the account" in moving.upload(moving.text(), expect=422, to="pac_unknown").text
    assert "Choose the account" in moving.upload(moving.text(), expect=422, to=moving.old).text
    assert site.rows(MethodMoveFile) == []
    moving.upload(moving.text() + f"sbm_unknown,{moving.copy('cus_other')}\n")
    moving.work()
    page = sam.get(moving.url)
    assert "Line 4: The old account has no saved method with the old reference." in page.text and moving.accounts() == [moving.old] * 2
    moving.upload(moving.text())
    moving.work()
    sam.get(moving.url)
    sam.submit("/confirmation")
    with site.services.database.open(everything("the customer removes a card"), write=True) as db:
        db.scalar(select(PaymentMethod).where(PaymentMethod.reference == moving.pairs[1][0])).removed_at = clock.now()
    moving.work()
    assert "Line 3: The method changed meanwhile. Try again." in sam.get(moving.url).text
    assert moving.accounts() == [moving.old] * 2 and moving.file().state == "refused"


def test_a_check_continues_where_it_stopped(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The processor stops answering after 30 of 45 lines. Then the new account stops charges, and the file is refused in words."""
    moving, describe, asked = Moving(site, 45), SandboxGateway.describe, []

    def silent(self: Any, reference: str) -> Any:
        asked.append(reference)
        if len(asked) == 30:
            raise Unavailable(sentence="silent")
        return describe(self, reference)

    monkeypatch.setattr(SandboxGateway, "describe", silent)
    moving.start()
    answered = method_move_files.work(site.services.processor, site.acorn, moving.old, lambda: False)
    assert (answered, moving.file().position, moving.file().state) == (False, 20, "checking")
    assert method_move_files.work(site.services.processor, site.acorn, moving.old, lambda: False)
    assert (moving.file().state, moving.file().move_count, len(asked)) == ("ready", 45, 30 + 25)
    seen = moving.file().checked_at.isoformat()
    with site.services.database.open(system(site.acorn), write=True) as db:
        assert method_move_files.confirm(db, moving.old, seen)
    with pytest.raises(Conflict), site.services.database.open(system(site.acorn), write=True) as db:
        method_move_files.confirm(db, moving.old, seen)  # pressed twice
    for act in (lambda db: method_move_files.discard(db, moving.old), lambda db: payment_accounts.stop_charges(db, moving.new)):
        try:
            with site.services.database.open(system(site.acorn), write=True) as db:
                act(db)
        except Conflict as refused:
            assert "being applied" in refused.sentence
    moving.work()
    assert moving.file().state == "refused" and "takes no new charges" in json.dumps(moving.file().problems)
    assert set(moving.accounts()) == {moving.old}


def test_only_a_fresh_check_of_the_file_that_was_seen_is_applied(site: Site) -> None:
    moving, sam = Moving(site, 1), site.sam
    moving.start()
    moving.work()
    sam.get(moving.url)
    moving.start()  # in another tab
    moving.work()
    assert "has changed in the meantime" in sam.submit("/confirmation").text and moving.accounts() == [moving.old]
    with time_machine.travel(clock.wall() + timedelta(hours=1, minutes=1)):
        with site.services.database.open(system(site.acorn), write=True) as db:
            assert not method_move_files.confirm(db, moving.old, moving.file().checked_at.isoformat())
        moving.work()
        assert moving.file().state == "ready" and moving.accounts() == [moving.old]
    sam.get(moving.url)
    assert "Nothing was moved." in sam.submit("/removal").text and site.rows(MethodMoveFile) == []


def test_a_file_needs_a_fresh_sign_in_and_an_account_without_charges(site: Site) -> None:
    moving, sam = Moving(site, 1), site.sam
    assert sam.get(site.at(f"/settings/payments/{moving.new}/methods"), expect=404).status == 404
    with site.services.database.open(everything("an hour passes"), write=True) as db:
        for row in db.scalars(select(BrowserSession)):
            row.proved_at = clock.wall() - timedelta(hours=1)
    assert "/methods" not in sam.get(moving.url, follow=False, expect=303).location.split("?")[0]
    before = len(site.rows(MethodMoveFile))
    client = sam.client.post(moving.url, data={"to": moving.new, "file": (io.BytesIO(moving.text().encode()), "map.csv")})
    assert client.status_code in (302, 303, 400, 403) and len(site.rows(MethodMoveFile)) == before
