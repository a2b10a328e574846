"""Sales → Statements received: cancellations and withdrawals that customers declared, and the decision on those that wait."""

from __future__ import annotations

from collections.abc import Mapping

from flask import flash, redirect, render_template, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from billing.statements import staff, staff_withdrawals
from billing.statements.withdrawal_queries import withdrawal_by_statement
from core.errors import Conflict, Invalid
from core.links import here
from core.request_context import db, scope, services
from core.template_context import formatter
from portal.billing_services import processor
from portal.confirmation import unconfirmed
from portal.statements.sentences import right_words
from tenants.console.access import bp, current_member, needs
from tenants.console.lists import chips, list_query


@bp.get("/<business_id>/sales/statements")
@needs("subscriptions.read")
def statements() -> ResponseReturnValue:
    wanted, base = list_query(staff.SHOWN_STATES), here("console.statements")
    found = staff.list_statements(db(replica=True), wanted.text, wanted.status, wanted.before)
    rows, newest, older = wanted.cut(base, found, lambda row: (row.received_at, row.id))
    return render_template(
        "tenants/console/statements.html",
        rows=rows,
        newest=newest,
        older=older,
        query=wanted,
        base=base,
        subscriptions_url=here("console.subscriptions"),
        public_url=f"{services().settings.base_url}/cancel/{current_member().business_id}",
        chips=chips("statement", staff.SHOWN_STATES, wanted, base),
    )


@bp.get("/<business_id>/sales/statements/<statement_id>")
@needs("subscriptions.read")
def statement(statement_id: str) -> ResponseReturnValue:
    return statement_page(statement_id, request.args)


@bp.post("/<business_id>/sales/statements/<statement_id>/cancellation")
@needs("subscriptions.cancel")
def carry_out_statement(statement_id: str) -> ResponseReturnValue:
    """Cancel the chosen subscription. The command opens its own sessions."""
    chosen, now = request.form.get("subscription", ""), request.form.get("when") == "now"
    with services().database.open(scope()) as reading:
        names = {item.subscription_id: item for item in staff.choices(reading, staff.get_statement(reading, statement_id), chosen)}
    if chosen not in names:
        return statement_page(statement_id, request.form, {"subscription": _("Choose a subscription.")}), 422
    item = names[chosen]
    day = item.next_billing_at
    page = unconfirmed(
        _("Cancel %(product)s of %(customer)s?", product=item.product, customer=item.customer),
        _("End it now") if now else _("Cancel subscription"),
        f"{here('console.statements')}/{statement_id}",
        _("It ends now. This cannot be undone.")
        if now or day is None
        else _("It ends on %(date)s. The customer gets the receipt.", date=formatter().date(day, "sentence")),
        page="tenants/console/confirm.html",
    )
    if page:
        return page
    try:
        staff.carry_out_for(processor(), scope(), statement_id, chosen, now=now)
    except Conflict as refused:
        flash(_(refused.sentence), "wait")
        return redirect(f"{here('console.statements')}/{statement_id}", 303)
    flash(_("The subscription is cancelled. The customer gets the receipt by email."), "good")
    return redirect(f"{here('console.statements')}/{statement_id}", 303)


@bp.post("/<business_id>/sales/statements/<statement_id>/answer")
@needs("subscriptions.cancel")
def answer_statement(statement_id: str) -> ResponseReturnValue:
    try:
        staff.dismiss(db(), statement_id, request.form.get("answer", ""))
    except Conflict as refused:
        flash(_(refused.sentence), "wait")
        return redirect(f"{here('console.statements')}/{statement_id}", 303)
    except Invalid as wrong:
        return statement_page(statement_id, request.form, {name: _(sentence) for name, sentence in wrong.fields.items()}), 422
    flash(_("Your answer is sent by email."), "good")
    return redirect(f"{here('console.statements')}/{statement_id}", 303)


def _proofs() -> dict[str | None, str]:
    """Return how the contract was found, by the value of `matched_by`."""
    return {
        None: "",
        "subscription": _("Proven by email address and subscription ID."),
        "invoice": _("Proven by email address and invoice number."),
        "license_key": _("Proven by email address and license key."),
        "payment": _("Proven by email address and payment ID."),
        "signed_in": _("The customer was signed in."),
        "staff": _("Chosen by your team."),
    }


def statement_page(statement_id: str, typed: Mapping[str, str], errors: dict[str, str] | None = None) -> str:
    with services().database.open(scope()) as reading:
        row = staff.get_statement(reading, statement_id)
        find = typed.get("find", "")
        choices = staff.choices(reading, row, find) if row.status == "waiting" and row.kind == "cancel" else []
        withdrawal = withdrawal_by_statement(reading, statement_id) if row.kind == "withdraw" else None
        waits = row.kind == "withdraw" and row.status == "waiting" and withdrawal is None
        contracts = staff_withdrawals.withdrawal_choices(reading, row, find or typed.get("contract", "")) if waits else []
    return render_template(
        "tenants/console/statement.html",
        row=row,
        choices=choices,
        contracts=contracts,
        withdrawal=withdrawal,
        payments_url=here("console.payments"),
        right_words=lambda right: right_words(right, formatter().locale),
        may_refund=current_member().may("money.refund"),
        typed=typed,
        errors=errors or {},
        proofs=_proofs(),
        base=here("console.statements"),
        subscriptions_url=here("console.subscriptions"),
        may_act=current_member().may("subscriptions.cancel"),
        answer_limit=staff.ANSWER_LIMIT,
    )
