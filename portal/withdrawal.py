"""Withdraw from a subscription or a one-time purchase: what is refunded is shown before, and confirming makes it at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from flask import flash, redirect, render_template, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from auth.visit_rows import Account
from billing.history import documents
from billing.model.parties import Customer
from billing.rights.table import withdraw_labels
from billing.statements import withdrawal_queries
from billing.statements.matching import WITHDRAWABLE
from billing.statements.signed_in import add_statement
from billing.statements.withdraw import Contract, withdraw
from billing.statements.withdrawal_queries import customer_of_contract
from billing.statements.withdrawal_quote import WithdrawalQuote
from billing.subscriptions import queries as query
from core import i18n
from core.db import ScopedSession
from core.errors import Conflict
from core.links import here
from core.request_context import db, scope, services
from core.template_context import formatter
from portal import bp
from portal.billing_services import processor
from portal.phrases import card_of
from portal.request_accounts import account
from portal.statements import sentences


@dataclass(frozen=True)
class WithdrawalItem:
    """What is withdrawn from. `url`: its page. `line_ids`: of a purchase; None: all lines."""

    name: str
    url: str
    account: Account
    contract: Contract
    is_external: bool = False
    can_end: bool = True

    @property
    def id(self) -> str:
        return self.contract.subscription_id or self.contract.payment_id or ""


@bp.get("/subscriptions/<subscription_id>/withdrawal")
def withdrawal(subscription_id: str) -> ResponseReturnValue:
    return _show(_subscription(db(), subscription_id))


@bp.post("/subscriptions/<subscription_id>/withdrawal")
def withdraw_from_subscription(subscription_id: str) -> ResponseReturnValue:
    with services().database.open(scope()) as reading:
        item = _subscription(reading, subscription_id)
    return _confirm(item)


@bp.get("/purchases/<payment_id>/withdrawal")
def purchase_withdrawal(payment_id: str) -> ResponseReturnValue:
    """`line`: the chosen lines, by default all."""
    return _show(_purchase(db(), payment_id, request.args.getlist("line")))


@bp.post("/purchases/<payment_id>/withdrawal")
def withdraw_from_purchase(payment_id: str) -> ResponseReturnValue:
    with services().database.open(scope()) as reading:
        item = _purchase(reading, payment_id, request.form.getlist("line"))
    return _confirm(item)


def _subscription(reading: ScopedSession, subscription_id: str) -> WithdrawalItem:
    row = query.get_subscription(reading, subscription_id)
    theirs = account(row.business_id, row.customer_id)
    url = f"{here('subscriptions')}/{row.id}"
    is_external = row.collected_by != "us"
    return WithdrawalItem(row.name, url, theirs, Contract(subscription_id=row.id), is_external, row.status in WITHDRAWABLE)


def _purchase(reading: ScopedSession, payment_id: str, chosen: Sequence[str]) -> WithdrawalItem:
    found = documents.purchase(reading, payment_id)
    paid, names = found.payment, ", ".join(product.name for product in found.products)
    name = found.invoice.description if found.invoice else names or _("Purchase")
    theirs = account(paid.business_id, paid.customer_id)
    contract = Contract(payment_id=paid.id, line_ids=list(chosen) or None)
    return WithdrawalItem(name, f"{here('purchases')}/{paid.id}", theirs, contract, can_end=paid.status == "succeeded")


def _quote(item: WithdrawalItem) -> WithdrawalQuote:
    """Compute with the business's own scope: what blocks a refund is not the customer's to read. The item was loaded through theirs."""
    database, business_id = services().database, item.account.business_id
    if item.contract.subscription_id:
        return withdrawal_queries.subscription_quote(database, business_id, item.contract.subscription_id)
    return withdrawal_queries.purchase_quote(database, business_id, item.contract.payment_id or "", item.contract.line_ids)


def _show(item: WithdrawalItem, problem: str = "") -> str:
    quote = _quote(item)
    with services().database.open(scope()) as reading:
        states = withdrawal_queries.withdrawals_of(
            reading, subscription_id=item.contract.subscription_id, payment_id=item.contract.payment_id
        )
    is_over = bool(states) and (item.contract.subscription_id is not None or not quote.wanted)
    return render_template(
        "portal/withdrawal.html",
        item=item,
        account=item.account,
        quote=quote,
        is_open=quote.right.is_open and item.can_end and not is_over,
        why_not="" if is_over else sentences.right_words(quote.right, formatter().locale),
        labels=withdraw_labels(i18n.locale(), quote.right.country),
        language_name=i18n.own_name,
        card_of=card_of,
        states=states,
        problem=problem,
        choice=bool(quote.lines) and len(quote.lines) > 1,
    )


def _confirm(item: WithdrawalItem) -> ResponseReturnValue:
    quote, theirs, locale = _quote(item), item.account, i18n.locale()
    shown = request.form.get("shown", type=int)
    what = _what(item, quote)
    sentence = sentences.withdrawal(what, theirs.name)

    def statement(session: ScopedSession) -> Any:
        customer: Customer = customer_of_contract(session, theirs.customer_id)
        return add_statement(
            session, customer, contract=what[:300], sentence=sentence, language=locale, zone=theirs.zone, item=item.id
        )  # fmt: skip

    try:
        withdraw(
            processor(), scope(), item.contract, business_id=theirs.business_id, statement=statement,
            shown_minor=-1 if shown is None else shown,
        )  # fmt: skip
    except Conflict as refused:
        return _show(item, _(refused.sentence)), 409
    flash(_("You withdrew from %(what)s. The receipt is in your inbox.", what=what), "good")
    return redirect(item.url, 303)


def _what(item: WithdrawalItem, quote: WithdrawalQuote) -> str:
    """Return the name of what is withdrawn from: the chosen items, unless it is everything."""
    if item.contract.line_ids is None or len(quote.wanted) == len(quote.lines) or not quote.wanted:
        return item.name
    return ", ".join(line.description for line in quote.lines if line.id in quote.wanted)
