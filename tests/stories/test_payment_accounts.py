"""Each business has its own payment accounts. Money, methods and notifications stay at theirs, also while a business moves."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from billing.charging import method_moves, notifications
from billing.charging import payment_accounts as accounts
from billing.charging.payment_accounts import AccountForm
from billing.charging.ports import ChargeRequest, Trace
from billing.charging.refund import refund
from billing.history import api_lists
from billing.model.gateway_notifications import GatewayNotification
from billing.model.payment_accounts import PaymentAccount, ProcessorCall, ProcessorCustomer, sandbox_account_id
from billing.model.payments import Payment, PaymentMethod
from billing.renewals import dunning, method_queries, payment_methods
from billing.renewals.pay_dues import DuesResult, pay_dues
from billing.subscriptions import queries
from billing.subscriptions.subscribe import buy
from core import clock
from core.errors import Conflict, Invalid, NotFound, Unauthorized
from core.money import Money
from core.scope import everything, system
from gateways.sandbox import SandboxGateway
from gateways.sandbox.cards import CardForm, check
from gateways.sandbox.methods import keep
from gateways.sandbox.notifications import sign
from gateways.sandbox.ownership import signing_secret
from tests import unpaid_renewals
from tests.cast import Buyer, Cast


@pytest.fixture
def cast(processor_services: Any, engine: Any, past: Any) -> Cast:
    return past(engine).for_services(processor_services)


def rows(cast: Cast, kind: Any, *where: Any) -> list[Any]:
    with cast.services.database.open(everything("a test looks")) as db:
        return list(db.scalars(select(kind).where(*where)))


def account_of(cast: Cast, key: str) -> str:
    """Return the account at which the sandbox has this operation."""
    with cast.services.gateway.store.read() as c:
        return str(c.execute("SELECT account FROM operations WHERE key = ?", (key,)).fetchone()["account"])


def connect(cast: Cast, business_id: str, label: str = "New account") -> str:
    processors, form = cast.services.processor.accounts, AccountForm("sandbox", label)
    report = accounts.check_account(processors, business_id, form)
    with cast.services.database.open(system(business_id), write=True) as db:
        return accounts.connect_account(processors, db, form, report).id


def act(cast: Cast, business_id: str, change: Callable[..., PaymentAccount], account_id: str) -> PaymentAccount:
    with cast.services.database.open(system(business_id), write=True) as db:
        return change(db, account_id)


def move(cast: Cast, business_id: str) -> tuple[str, str]:
    """Move the business to a new account. Returns the old one, which only refunds, and the new one."""
    old, new = sandbox_account_id(business_id), connect(cast, business_id)
    act(cast, business_id, accounts.stop_charges, old)
    return old, new


def pay(cast: Cast, buyer: Buyer, method: str | None = None) -> DuesResult:
    return pay_dues(cast.services.processor, unpaid_renewals.scope_of(buyer), buyer.subscription_id, payment_method_id=method)


def card_of(cast: Cast, payment_id: str) -> PaymentMethod:
    paid = rows(cast, Payment, Payment.id == payment_id)[0]
    return rows(cast, PaymentMethod, PaymentMethod.id == paid.payment_method_id)[0]


def test_payments_stay_at_the_account_of_their_business(cast: Cast) -> None:
    """Ada pays at Acorn and at Birch. Neither business's account finds, charges, cancels or refunds what belongs to the other."""
    processors = cast.services.processor.accounts
    for buyer in (cast.ada_at_acorn, cast.ada_at_birch):
        for paid in rows(cast, Payment, Payment.customer_id == buyer.customer_id):
            assert paid.payment_account_id == account_of(cast, paid.key) == sandbox_account_id(buyer.business_id)
        assert [row.payment_account_id for row in rows(cast, ProcessorCustomer, ProcessorCustomer.customer_id == buyer.customer_id)] == [
            sandbox_account_id(buyer.business_id)
        ]
    ours = rows(cast, Payment, Payment.id == cast.ada_at_acorn.purchase_id)[0]
    birch = processors.of(cast.birch, sandbox_account_id(cast.birch))
    assert birch.look_up(Trace(ours.key)).state == "not_found"
    with pytest.raises(Conflict):
        birch.cancel(Trace(ours.key))
    assert processors.of(cast.acorn, sandbox_account_id(cast.acorn)).look_up(Trace(ours.key)).state == "succeeded"
    with pytest.raises(Conflict):
        processors.of(cast.birch, sandbox_account_id(cast.acorn))  # another business's account does not exist
    assert not [row for row in rows(cast, ProcessorCall) if row.payment_account_id != sandbox_account_id(row.business_id)]


def test_a_card_saved_at_one_account_is_not_charged_at_another(cast: Cast) -> None:
    ada, new = cast.ada_at_acorn, connect(cast, cast.acorn)
    bought = buy(cast.services.processor, system(cast.acorn), customer_id=ada.customer_id, cart=[(cast.products["acorn.once"], 1)])
    unpaid_renewals.fill_in(cast, bought.link or "")
    unpaid_renewals.settle(cast)
    saved = card_of(cast, bought.payment_id)
    assert saved.payment_account_id == sandbox_account_id(cast.acorn)
    request = ChargeRequest("test/key", cast.acorn, ada.customer_id, saved.reference, Money(100, "EUR"), "Acorn")
    other = cast.services.processor.accounts.of(cast.acorn, new)
    assert other.charge(request).error_code == "MANDATE_INVALID"
    other.forget(saved.reference)  # of another account: nothing happens
    again = buy(cast.services.processor, system(cast.acorn), customer_id=ada.customer_id, cart=[(cast.products["acorn.once"], 1)],
                payment_method_id=saved.id)  # fmt: skip
    assert again.status == "succeeded"


def test_a_removed_card_is_forgotten_by_the_processor(cast: Cast) -> None:
    ada = cast.ada_at_acorn
    cast.rest()
    card = cast.card(ada)
    with cast.services.database.open(unpaid_renewals.scope_of(ada), write=True) as db:
        method = payment_methods.remove_method(db, card)
    cast.services.worker.drain()
    request = ChargeRequest("test/key", cast.acorn, ada.customer_id, method.reference, Money(100, "EUR"), "Acorn")
    assert cast.services.processor.accounts.of(cast.acorn, sandbox_account_id(cast.acorn)).charge(request).error_code == "MANDATE_INVALID"


def test_a_business_moves_while_a_renewal_is_unpaid(cast: Cast) -> None:
    """Acorn's new account takes the dues. A saved card of the old account is neither offered nor charged."""
    ada = cast.ada_at_acorn
    unpaid_renewals.hold(cast, ada)
    before = len(cast.services.gateway.movements())
    old, new = move(cast, cast.acorn)
    with pytest.raises(NotFound):
        pay(cast, ada, ada.method_id)
    page = pay(cast, ada)
    unpaid_renewals.fill_in(cast, page.link or "")
    unpaid_renewals.settle(cast)
    subscription = unpaid_renewals.subscription(cast, ada)
    assert subscription.status == "active" and unpaid_renewals.taken(cast, ada) == [2900]
    paid = unpaid_renewals.payments(cast, ada)[-1]
    assert (paid.status, paid.payment_account_id, account_of(cast, paid.key)) == ("succeeded", new, new)
    assert card_of(cast, paid.id).payment_account_id == new and subscription.payment_method_id == paid.payment_method_id
    assert len(cast.services.gateway.movements()) == before + 1
    clock.turn(clock.offset() + unpaid_renewals.MONTH)
    unpaid_renewals.renew_due(cast.services)
    assert unpaid_renewals.subscription(cast, ada).status == "active" and len(unpaid_renewals.taken(cast, ada)) == 2


def test_a_renewal_with_a_card_of_the_old_account_goes_to_the_customer(cast: Cast) -> None:
    ada, before = cast.ada_at_acorn, len(cast.services.gateway.movements())
    move(cast, cast.acorn)
    clock.turn(clock.offset() + unpaid_renewals.MONTH)
    unpaid_renewals.renew_due(cast.services)
    assert unpaid_renewals.subscription(cast, ada).status == "on_hold" and unpaid_renewals.payments(cast, ada) == []
    mine = [key for _, key, _ in cast.services.gateway.movements()[before:] if cast.acorn in key]
    assert mine == [] and unpaid_renewals.events(cast, ada, "subscription.on_hold")
    assert unpaid_renewals.subscription(cast, cast.ada_at_birch).status == "active"  # Birch did not move


def test_an_unsent_charge_of_the_old_account_is_cancelled(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process died before it sent a renewal, then the business moved. The renewal is not charged; the customer can pay."""
    ada = cast.ada_at_acorn
    with monkeypatch.context() as crash:
        crash.setattr(type(cast.services.processor), "start", lambda *_: "processing")
        clock.turn(clock.offset() + unpaid_renewals.MONTH)
        from billing.renewals import renew

        renew.run_due(cast.services.processor)
    [waiting] = unpaid_renewals.payments(cast, ada)
    assert waiting.is_open and waiting.sent_at is None
    old, _new = move(cast, cast.acorn)
    with pytest.raises(Conflict):
        act(cast, cast.acorn, accounts.close_account, old)  # a payment is open there
    cast.services.processor.reconcile()
    [waiting] = unpaid_renewals.payments(cast, ada)
    assert (waiting.status, waiting.is_open) == ("cancelled", False) and unpaid_renewals.taken(cast, ada) == []
    assert unpaid_renewals.subscription(cast, ada).status == "on_hold"
    assert act(cast, cast.acorn, accounts.close_account, old).state == "closed"


def test_a_lost_answer_of_the_old_account_is_settled_there(cast: Cast) -> None:
    ada = cast.ada_at_acorn
    cast.services.gateway.turn_knob("next_charge", "lost")
    bought = buy(cast.services.processor, system(cast.acorn), customer_id=ada.customer_id, cart=[(cast.products["acorn.once"], 1)],
                 payment_method_id=ada.method_id)  # fmt: skip
    assert bought.status == "processing"
    old, _new = move(cast, cast.acorn)
    cast.services.processor.reconcile()
    [paid] = rows(cast, Payment, Payment.id == bought.payment_id)
    assert (paid.status, paid.payment_account_id) == ("succeeded", old)


def test_an_open_page_of_the_old_account_is_closed(cast: Cast) -> None:
    ada = cast.ada_at_acorn
    unpaid_renewals.hold(cast, ada)
    page = pay(cast, ada)
    _old, new = move(cast, cast.acorn)
    cast.services.processor.reconcile()
    assert unpaid_renewals.fill_in(cast, page.link or "").state == "cancelled" and unpaid_renewals.taken(cast, ada) == []
    other = pay(cast, ada)
    assert other.link != page.link and rows(cast, Payment, Payment.id == other.payment_id)[0].payment_account_id == new


def test_refunds_go_to_the_account_that_was_paid(cast: Cast) -> None:
    ada, processor = cast.ada_at_acorn, cast.services.processor
    old, _new = move(cast, cast.acorn)
    made = refund(processor, system(cast.acorn), ada.purchase_id, amount_minor=900)
    assert (made.status, made.payment_account_id, account_of(cast, made.key)) == ("succeeded", old, old)
    act(cast, cast.acorn, accounts.close_account, old)
    with pytest.raises(Conflict, match="closed") as refused:
        refund(processor, system(cast.acorn), ada.purchase_id, amount_minor=900)
    assert "at the payment processor" in str(refused.value.sentence)


def test_without_an_open_account_a_purchase_is_refused_in_words(cast: Cast) -> None:
    act(cast, cast.acorn, accounts.stop_charges, sandbox_account_id(cast.acorn))
    with pytest.raises(Conflict) as refused:
        buy(cast.services.processor, system(cast.acorn), customer_id=cast.ada_at_acorn.customer_id, cart=[(cast.products["acorn.once"], 1)])
    assert refused.value.code == "MERCHANT_NOT_LIVE" and "no open payment account" in str(refused.value.sentence)
    act(cast, cast.acorn, accounts.resume_charges, sandbox_account_id(cast.acorn))
    assert rows(cast, PaymentAccount, PaymentAccount.business_id == cast.acorn)[0].is_default


def told(cast: Cast, account_id: str, key: str, number: str = "ntf_1") -> tuple[dict[str, str], bytes]:
    """Return a notification of the account, signed with its secret."""
    body = json.dumps({"id": number, "key": key, "kind": "charge", "created_at": 0}).encode()
    secret = signing_secret(cast.services.gateway._secret, account_id)
    return {"sandbox-account": account_id, **sign(secret, number, int(clock.wall().timestamp()), body)}, body


def test_a_notification_counts_at_its_own_account_only(cast: Cast) -> None:
    acorn, birch = sandbox_account_id(cast.acorn), sandbox_account_id(cast.birch)
    [paid] = rows(cast, Payment, Payment.id == cast.ada_at_acorn.purchase_id)
    headers, body = told(cast, acorn, paid.key)
    with pytest.raises(Unauthorized):
        notifications.receive(cast.services.processor, "sandbox", birch, headers, body)
    with pytest.raises(NotFound):
        notifications.receive(cast.services.processor, "sandbox", "pac_unknown", headers, body)
    with pytest.raises(NotFound):
        notifications.receive(cast.services.processor, "stripe", acorn, headers, body)
    for _ in range(2):
        notifications.receive(cast.services.processor, "sandbox", acorn, headers, body)
    assert [row.payment_account_id for row in rows(cast, GatewayNotification, GatewayNotification.id == f"{acorn}:ntf_1")] == [acorn]
    hint = {"business_id": cast.birch, "payment_account_id": birch, "key": paid.key}
    assert notifications.find(cast.services.processor, hint) == (None, None)  # Birch's account tells of Acorn's payment


def test_a_notification_without_a_key_is_found_by_its_reference(cast: Cast) -> None:
    """A change made in the processor's dashboard names only its own object, not our key."""
    made = refund(cast.services.processor, system(cast.acorn), cast.ada_at_acorn.purchase_id, amount_minor=900)
    [paid] = rows(cast, Payment, Payment.id == cast.ada_at_acorn.purchase_id)
    [call] = rows(cast, ProcessorCall, ProcessorCall.id == made.key)
    here = {"business_id": cast.acorn, "payment_account_id": sandbox_account_id(cast.acorn)}
    assert notifications.find(cast.services.processor, {**here, "reference": paid.gateway_reference}) == ((cast.acorn, paid.id), None)
    assert notifications.find(cast.services.processor, {**here, "reference": call.reference}) == (None, (cast.acorn, made.id))
    there = {"business_id": cast.birch, "payment_account_id": sandbox_account_id(cast.birch)}
    assert notifications.find(cast.services.processor, {**there, "reference": paid.gateway_reference}) == (None, None)


def test_a_payment_that_the_bank_confirms_within_days_is_awaited(cast: Cast) -> None:
    """A direct debit pays the dues. Until the bank confirms, nothing is unknown, nobody is reminded, and nothing else is charged."""
    ada, gateway = cast.ada_at_acorn, cast.services.gateway
    unpaid_renewals.hold(cast, ada)
    gateway.turn_knob("working_days", 3)
    gateway.turn_knob("settle_after", 86400)
    started = pay(cast, ada, cast.card(ada, unpaid_renewals.SLOW))
    assert started.status == "processing"
    waiting = unpaid_renewals.payments(cast, ada)[-1]
    assert (waiting.working_days, waiting.unknown, waiting.is_open) == (3, False, True)
    assert waiting.check_at is not None and waiting.check_at - clock.wall() > timedelta(hours=11)
    with pytest.raises(Conflict):
        pay(cast, ada, ada.method_id)
    before = len(unpaid_renewals.events(cast, ada, "dunning.started", "dunning.reminder"))
    clock.turn(clock.offset() + timedelta(days=8))
    dunning.run_due(cast.services.processor)
    assert len(unpaid_renewals.events(cast, ada, "dunning.started", "dunning.reminder")) == before
    assert unpaid_renewals.taken(cast, ada) == []
    with gateway.store.write() as c:
        c.execute("UPDATE operations SET due_at = 0 WHERE state = 'processing'")
    unpaid_renewals.settle(cast)
    assert unpaid_renewals.subscription(cast, ada).status == "active" and unpaid_renewals.taken(cast, ada) == [2900]


def test_each_currency_has_its_default_account(cast: Cast) -> None:
    """New cards in EUR go to the second account, those in other currencies to the first. Nothing is set: the default of all."""
    processors, first = cast.services.processor.accounts, sandbox_account_id(cast.acorn)
    second, third = connect(cast, cast.acorn, "Second"), connect(cast, cast.acorn, "Third")

    def chosen(currency: str | None = None) -> str:
        with cast.services.database.open(system(cast.acorn)) as db:
            return processors.for_new(db, cast.acorn, currency).id

    def assign(account_id: str, *currencies: str) -> PaymentAccount:
        return act(cast, cast.acorn, lambda db, row: accounts.set_default_currencies(db, row, currencies), account_id)

    def charge_only(account_id: str, *currencies: str) -> None:
        with cast.services.database.open(system(cast.acorn), write=True) as db:
            accounts.load_account(db, account_id)[0].currencies = list(currencies)

    assert [chosen("EUR"), chosen("USD"), chosen()] == [first] * 3
    assert assign(second, "eur", " GBP ").default_currencies == ["EUR", "GBP"]
    assert [chosen("EUR"), chosen("GBP"), chosen("USD"), chosen()] == [second, second, first, first]
    assign(third, "EUR")
    assert [chosen("EUR"), chosen("GBP")] == [third, second]  # one account per currency
    charge_only(third, "EUR")
    for wrong in ("USD", "XXQ", "IQD"):
        with pytest.raises(Invalid) as refused:
            assign(third, wrong)
        assert "currencies" in refused.value.fields
    charge_only(second, "EUR")  # its key was replaced, and GBP is gone
    assert [chosen("GBP"), chosen("EUR")] == [first, third]
    act(cast, cast.acorn, accounts.stop_charges, third)
    assert chosen("EUR") == first
    act(cast, cast.acorn, accounts.resume_charges, third)
    assert chosen("EUR") == first  # it has to be chosen again
    with pytest.raises(NotFound):
        act(cast, cast.birch, lambda db, row: accounts.set_default_currencies(db, row, ["EUR"]), second)
    assign(second, "EUR")
    bought = buy(cast.services.processor, system(cast.acorn), customer_id=cast.ada_at_acorn.customer_id,
                 cart=[(cast.products["acorn.once"], 1)])  # fmt: skip
    assert rows(cast, Payment, Payment.id == bought.payment_id)[0].payment_account_id == second


def test_a_card_of_a_stopped_account_is_no_longer_offered(cast: Cast) -> None:
    """Ada's list still names it, as one that cannot be charged; the API does not list it; it cannot be chosen or made the default."""
    ada = cast.ada_at_acorn
    scope = unpaid_renewals.scope_of(ada)
    move(cast, cast.acorn)
    with cast.services.database.open(scope) as db:
        mine = {row.id: row for row in method_queries.methods(db)}
        assert not mine[ada.method_id].is_chargeable and mine[ada.method_id].pays_for
        assert queries.get_subscription(db, ada.subscription_id).has_stale_method
        assert api_lists.payment_methods(db, ada.customer_id) == []
    with cast.services.database.open(scope, write=True) as db, pytest.raises(NotFound):
        payment_methods.set_default(db, ada.method_id)
    with pytest.raises(NotFound):
        payment_methods.change_method(cast.services.processor, scope, ada.subscription_id, payment_method_id=ada.method_id)
    act(cast, cast.acorn, accounts.resume_charges, sandbox_account_id(cast.acorn))
    with cast.services.database.open(scope) as db:
        assert [row.id for row in api_lists.payment_methods(db, ada.customer_id)] == [ada.method_id]
        assert not queries.get_subscription(db, ada.subscription_id).has_stale_method


# --- moving saved cards to the new account


def copied(cast: Cast, buyer: Buyer, account: str, number: str = "4242424242424242") -> str:
    """Copy a card to an account of the sandbox, as processors do between accounts. Returns its reference there."""
    card = check(CardForm(number, "06/40", None, buyer.email, "GB"))
    with cast.services.gateway.store.write() as c:
        return keep(c, buyer.customer_id, card, saved=True, account=account)


def test_moved_cards_are_charged_at_the_new_account(cast: Cast) -> None:
    """The mapping file moves Ada's card. Her renewal is charged once, at the new account. The same file again changes nothing."""
    ada, processor = cast.ada_at_acorn, cast.services.processor
    old, new = move(cast, cast.acorn)
    [card] = rows(cast, PaymentMethod, PaymentMethod.id == ada.method_id)
    text = "old,new\n" + f"{card.reference},{copied(cast, ada, new)}\n"
    between = method_moves.AccountPair(cast.acorn, old, new)
    assert method_moves.move_methods(processor, between, method_moves.read_lines(text)) == (1, 0)
    assert method_moves.move_methods(processor, between, method_moves.read_lines(text)) == (0, 1)
    [moved] = rows(cast, PaymentMethod, PaymentMethod.id == ada.method_id)
    assert (moved.payment_account_id, moved.former_reference, moved.expiry_year) == (new, card.reference, 2040)
    before = len(cast.services.gateway.movements())
    clock.turn(clock.offset() + unpaid_renewals.MONTH)
    unpaid_renewals.renew_due(cast.services)
    charged = [key for _, key, _ in cast.services.gateway.movements()[before:] if cast.acorn in key and ada.subscription_id in key]
    [paid] = [row for row in unpaid_renewals.payments(cast, ada) if row.status == "succeeded"][-1:]
    assert len(charged) == 1 and (paid.payment_account_id, account_of(cast, paid.key)) == (new, new)
    assert unpaid_renewals.subscription(cast, ada).status == "active"


def test_a_mapping_file_is_applied_whole_or_not_at_all(cast: Cast) -> None:
    """One wrong line stops the file: another customer's buyer, another card, an unknown reference, a card of another business."""
    ada, ben, processor = cast.ada_at_acorn, cast.ada_at_birch, cast.services.processor
    old, new = move(cast, cast.acorn)
    mine, theirs = (rows(cast, PaymentMethod, PaymentMethod.id == buyer.method_id)[0].reference for buyer in (ada, ben))
    between, good = method_moves.AccountPair(cast.acorn, old, new), copied(cast, ada, new)
    for second, words in (
        ((theirs, copied(cast, ben, new)), "no saved method"),
        (("sbm_unknown", copied(cast, ada, new)), "no saved method"),
        ((mine, copied(cast, ada, new, "5555555555554444")), "another card"),
        ((mine, "sbm_unknown"), "no such saved method"),
    ):
        lines = [json.dumps({"old": item[0], "new": item[1]}) for item in ([second] if second[0] == mine else [(mine, good), second])]
        with pytest.raises(method_moves.BadLines) as bad:
            method_moves.move_methods(processor, between, method_moves.read_lines("\n".join(lines)))
        assert [number for number, _ in bad.value.problems] == [len(lines)] and words in bad.value.problems[0][1]
        assert rows(cast, PaymentMethod, PaymentMethod.id == ada.method_id)[0].payment_account_id == old
    other = copied(cast, Buyer(**{**vars(ada), "customer_id": ben.customer_id}), new)
    with cast.services.database.open(system(cast.acorn), write=True) as db:
        db.add(ProcessorCustomer(business_id=cast.acorn, id="pcu_1", customer_id=ada.customer_id, payment_account_id=new,
                                 reference=ada.customer_id))  # fmt: skip
    with pytest.raises(method_moves.BadLines) as bad:
        method_moves.move_methods(processor, between, method_moves.read_lines(f"old,new\n{mine},{other}"))
    assert "another customer" in bad.value.problems[0][1]
    with pytest.raises(NotFound):
        method_moves.move_methods(
            processor, method_moves.AccountPair(cast.birch, old, new), method_moves.read_lines(f"old,new\n{mine},{good}")
        )
    for text in (
        "",
        "old,new\n",
        "old,new\na,\n",
        "{}",
        '{"old": "a", "new": "b"}\nnonsense',
        "old,new\na,b\na,c\n",
        "old,new\na,b\nc,b\n",
    ):
        with pytest.raises(method_moves.BadLines):
            method_moves.read_lines(text)


def test_a_card_with_an_open_payment_is_not_moved(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    """The outcome of a charge is unknown, so the file is refused. A charge that was not sent before the move is never sent."""
    ada, processor = cast.ada_at_acorn, cast.services.processor
    old, new = sandbox_account_id(cast.acorn), connect(cast, cast.acorn)
    [card] = rows(cast, PaymentMethod, PaymentMethod.id == ada.method_id)
    between, lines = (
        method_moves.AccountPair(cast.acorn, old, new),
        method_moves.read_lines(f"old,new\n{card.reference},{copied(cast, ada, new)}"),
    )

    def purchase() -> str:
        return buy(processor, system(cast.acorn), customer_id=ada.customer_id, cart=[(cast.products["acorn.once"], 1)],
                   payment_method_id=ada.method_id).payment_id  # fmt: skip

    cast.services.gateway.turn_knob("next_charge", "lost")
    lost = purchase()
    with pytest.raises(method_moves.BadLines) as bad:
        method_moves.move_methods(processor, between, lines)
    assert "is open" in bad.value.problems[0][1]
    processor.check(cast.acorn, lost)
    assert rows(cast, Payment, Payment.id == lost)[0].status == "succeeded"
    before = len(cast.services.gateway.movements())
    with monkeypatch.context() as crash:
        crash.setattr(type(processor), "start", lambda *_: "processing")
        unsent = purchase()
    with cast.services.database.open(system(cast.acorn), write=True) as db:  # as if the move had come between the choice and the write
        method = db.scalars(select(PaymentMethod).where(PaymentMethod.id == ada.method_id)).one()
        method.payment_account_id, method.reference = new, lines[0].new
    processor.start(cast.acorn, unsent)
    processor.check(cast.acorn, unsent)
    assert rows(cast, Payment, Payment.id == unsent)[0].status == "cancelled" and len(cast.services.gateway.movements()) == before


def test_methods_move_there_and_back_and_every_file_can_be_repeated(cast: Cast) -> None:
    """Old, new, old. A file whose methods were moved before, also of a card that was entered again since, changes nothing."""
    ada, processor = cast.ada_at_acorn, cast.services.processor
    old, new = sandbox_account_id(cast.acorn), connect(cast, cast.acorn)

    def card() -> PaymentMethod:
        [row] = rows(cast, PaymentMethod, PaymentMethod.id == ada.method_id)
        return row

    def give(there: bool, before: str, after: str) -> tuple[int, int]:
        between = method_moves.AccountPair(cast.acorn, *((old, new) if there else (new, old)))
        return method_moves.move_methods(processor, between, [method_moves.MoveLine(2, before, after)])

    first, second = card().reference, copied(cast, ada, new)
    assert [give(True, first, second), give(True, first, second)] == [(1, 0), (0, 1)]
    with pytest.raises(method_moves.BadLines, match="1 lines"):
        give(True, second, first)  # swapped columns
    assert give(False, second, first) == (1, 0) and (card().reference, card().payment_account_id) == (first, old)
    assert give(False, second, first) == (0, 1)
    assert give(True, first, second) == (1, 0) and card().payment_account_id == new
    with cast.services.database.open(system(cast.acorn), write=True) as db:
        db.scalar(select(PaymentMethod).where(PaymentMethod.id == ada.method_id)).reference = copied(cast, ada, new)  # entered again
    assert give(True, first, second) == (0, 1) and card().former_reference == first


def test_a_method_that_changes_while_a_file_is_applied_stops_all_of_it(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two methods of Ada's. While the new account is asked, she removes one: neither moves."""
    ada, processor = cast.ada_at_acorn, cast.services.processor
    old, new = sandbox_account_id(cast.acorn), connect(cast, cast.acorn)
    second, describe = cast.card(ada), SandboxGateway.describe
    lines = [
        method_moves.MoveLine(number, rows(cast, PaymentMethod, PaymentMethod.id == method)[0].reference, copied(cast, ada, new))
        for number, method in enumerate((ada.method_id, second), 2)
    ]

    def slow(self: Any, reference: str) -> Any:
        with cast.services.database.open(unpaid_renewals.scope_of(ada), write=True) as db:
            if db.scalar(select(PaymentMethod.removed_at).where(PaymentMethod.id == second)) is None:
                payment_methods.remove_method(db, second)
        return describe(self, reference)

    monkeypatch.setattr(SandboxGateway, "describe", slow)
    with pytest.raises(method_moves.BadLines) as bad:
        method_moves.move_methods(processor, method_moves.AccountPair(cast.acorn, old, new), lines)
    assert [(number, "changed meanwhile" in words) for number, words in bad.value.problems] == [(3, True)]
    assert {row.payment_account_id for row in rows(cast, PaymentMethod, PaymentMethod.customer_id == ada.customer_id)} == {old}
    assert rows(cast, PaymentMethod, PaymentMethod.id == ada.method_id)[0].former_reference is None
