"""Sales → Statements received: carry out a withdrawal that waits, and note that its refund is made."""

from __future__ import annotations

from flask import flash, redirect, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from billing.statements import staff, staff_withdrawals
from core.errors import Conflict, Invalid
from core.links import here
from core.request_context import db, scope, services
from core.template_context import formatter
from portal.billing_services import processor
from portal.confirmation import unconfirmed
from tenants.console.access import bp, needs, needs_fresh_proof
from tenants.console.statements import statement_page
from tenants.emails import notify_owners


@bp.post("/<business_id>/sales/statements/<statement_id>/withdrawal")
@needs("money.refund")
@needs_fresh_proof
def carry_out_withdrawal(statement_id: str) -> ResponseReturnValue:
    """Withdraw from the chosen contract, with the refund that the page showed. The command opens its own sessions."""
    chosen, url = request.form.get("contract", ""), f"{here('console.statements')}/{statement_id}"
    with services().database.open(scope()) as reading:
        found = staff_withdrawals.withdrawal_choices(reading, staff.get_statement(reading, statement_id), chosen)
    item = next((choice for choice in found if choice.id == chosen), None)
    if item is None:
        return statement_page(statement_id, request.form, {"contract": _("Choose a contract.")}), 422
    money = formatter().money(item.quote.refund_minor, item.quote.currency)
    page = unconfirmed(
        _("End %(product)s of %(customer)s and refund %(amount)s?", product=item.name, customer=item.customer, amount=money),
        _("Carry out withdrawal"),
        url,
        _("The contract ends now. The customer gets the receipt."),
        page="tenants/console/confirm.html",
    )
    if page:
        return page
    shown = request.form.get(f"shown_{chosen}", type=int)
    try:
        staff_withdrawals.carry_out(processor(), scope(), statement_id, chosen, -1 if shown is None else shown)
    except Conflict as refused:
        flash(_(refused.sentence), "wait")
        return redirect(url, 303)
    except Invalid as wrong:
        return statement_page(statement_id, request.form, {name: _(sentence) for name, sentence in wrong.fields.items()}), 422
    with services().database.open(scope(), write=True) as session:
        notify_owners(session, "refunded", f"{money}, {item.customer}")
    flash(_("The withdrawal is carried out. The customer gets the receipt by email."), "good")
    return redirect(url, 303)


@bp.post("/<business_id>/sales/statements/<statement_id>/settlement")
@needs("money.refund")
def settle_statement(statement_id: str) -> ResponseReturnValue:
    try:
        staff_withdrawals.settle(db(), statement_id)
    except Conflict as refused:
        flash(_(refused.sentence), "wait")
        return redirect(f"{here('console.statements')}/{statement_id}", 303)
    flash(_("Saved."), "good")
    return redirect(f"{here('console.statements')}/{statement_id}", 303)
