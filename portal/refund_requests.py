"""Request a refund that the policy does not give, see where it stands, write a second message, and take it back.

A request moves no money and can be taken back, so it needs no recent sign-in.
"""

from __future__ import annotations

from collections.abc import Mapping

from flask import flash, redirect, render_template, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from billing.refund_requests import ask as command
from billing.refund_requests import queries as query
from billing.self_refunds.facts import find_payment
from billing.self_refunds.refund_payment import assess_payment
from core.errors import Conflict, Invalid, TooMany
from core.links import here
from core.request_context import db
from portal import bp
from portal.request_accounts import account, open_account
from portal.self_refund_phrases import reason_label, reason_options, why_not


@bp.get("/payments/<payment_id>/refund-request")
def new_refund_request(payment_id: str) -> ResponseReturnValue:
    return _form(payment_id, {})


@bp.post("/payments/<payment_id>/refund-request")
def make_refund_request(payment_id: str) -> ResponseReturnValue:
    payment = find_payment(db(), payment_id)
    open_account(payment.business_id, payment.customer_id)
    try:
        row = command.ask(db(), payment_id, request.form.get("reason") or None, request.form.get("message", ""))
    except Invalid as wrong:
        return _form(payment_id, request.form, {name: _(sentence) for name, sentence in wrong.fields.items()}), 422
    except (Conflict, TooMany) as refused:
        flash(_(refused.sentence), "wait")
        found = query.latest_request(db(), payment)
        if found is not None and found.status == "open":
            return redirect(here("refund_request", request_id=found.id), 303)
        return redirect(here("own_refund", payment_id=payment_id), 303)
    flash(_("Your refund request was sent."), "good")
    return redirect(here("refund_request", request_id=row.id), 303)


@bp.get("/refund-requests/<request_id>")
def refund_request(request_id: str) -> ResponseReturnValue:
    return _page(request_id)


@bp.post("/refund-requests/<request_id>/messages")
def write_refund_request(request_id: str) -> ResponseReturnValue:
    return _change(request_id, _("Your message was sent."))


@bp.post("/refund-requests/<request_id>/withdrawal")
def withdraw_refund_request(request_id: str) -> ResponseReturnValue:
    return _change(request_id, _("You withdrew the refund request."), is_withdrawal=True)


def _change(request_id: str, done: str, *, is_withdrawal: bool = False) -> ResponseReturnValue:
    found = query.get_request(db(), request_id).request
    open_account(found.business_id, found.customer_id)
    try:
        if is_withdrawal:
            command.withdraw(db(), request_id)
        else:
            command.write(db(), request_id, request.form.get("message", ""), by_customer=True)
    except Invalid as wrong:
        return _page(request_id, request.form, {name: _(sentence) for name, sentence in wrong.fields.items()}), 422
    except Conflict as refused:
        flash(_(refused.sentence), "wait")
        return redirect(here("refund_request", request_id=request_id), 303)
    flash(done, "good")
    return redirect(here("refund_request", request_id=request_id), 303)


def _form(payment_id: str, typed: Mapping[str, str], errors: dict[str, str] | None = None) -> str:
    assessed = assess_payment(db(), payment_id)
    theirs = account(assessed.payment.business_id, assessed.payment.customer_id)
    asked = query.latest_request(db(), assessed.payment)
    return render_template(
        "portal/refund_request_new.html",
        refund=assessed,
        payment=assessed.payment,
        account=theirs,
        name=assessed.name or _("Purchase"),
        may_ask=command.may_ask(assessed) and (asked is None or asked.status != "open"),
        reasons=why_not(assessed, theirs) if assessed.policy.is_on or assessed.obstacle in command.NEVER else [],
        url=here("new_refund_request", payment_id=payment_id),
        back=here("own_refund", payment_id=payment_id),
        options=reason_options(),
        limit=command.MESSAGE_LIMIT,
        typed=typed,
        errors=errors or {},
    )


def _page(request_id: str, typed: Mapping[str, str] | None = None, errors: dict[str, str] | None = None) -> str:
    found = query.get_request(db(), request_id)
    written = query.messages(db(), found.request)
    theirs = account(found.request.business_id, found.request.customer_id)
    is_open = found.request.status == "open" and not theirs.archived_at
    return render_template(
        "portal/refund_request.html",
        found=found,
        messages=written,
        account=theirs,
        name=found.what or _("Purchase"),
        reason=reason_label(found.request.reason),
        decided_at=found.request.decided_at,
        url=here("refund_request", request_id=request_id),
        is_open=is_open,
        may_write=is_open and sum(item.by_customer for item in written) < command.MESSAGES_EACH,
        limit=command.MESSAGE_LIMIT,
        typed=typed or {},
        errors=errors or {},
    )
