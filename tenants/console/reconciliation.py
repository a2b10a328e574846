"""Needs reconciliation: payments and refunds about which the portal and the provider disagree, and how to resolve them."""

from __future__ import annotations

from flask import flash, redirect, render_template, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from billing.charging import resolve_exception as command
from billing.history import staff_lists
from core.errors import Conflict, Invalid
from core.links import here
from core.request_context import db, scope
from core.template_context import formatter
from portal.billing_services import processor
from portal.confirmation import unconfirmed
from tenants.console.access import bp, current_member, needs, needs_fresh_proof


@bp.get("/<business_id>/sales/reconciliation")
@needs("money.read")
def reconciliation() -> ResponseReturnValue:
    return _page()


@bp.post("/<business_id>/sales/reconciliation/<exception_id>/check")
@needs("money.refund")
def check_exception(exception_id: str) -> ResponseReturnValue:
    """Look up the outcome at the provider again. The command opens its own sessions."""
    if command.check_again(processor(), scope(), exception_id):
        flash(_("The provider now has a record. This entry is resolved."), "good")
    else:
        flash(_("The provider’s answer has not changed. This entry still needs reconciliation."), "wait")
    return redirect(here("console.reconciliation"), 303)


@bp.post("/<business_id>/sales/reconciliation/<exception_id>/closing")
@needs("money.refund")
@needs_fresh_proof
def close_exception(exception_id: str) -> ResponseReturnValue:
    waits = next((item for item in staff_lists.waiting(db()) if item.exception.id == exception_id), None)
    confirmation = (
        waits
        and request.form.get("note", "").strip()
        and unconfirmed(
            _("Close the entry for %(amount)s?", amount=_amount(waits)),
            _("Close entry"),
            here("console.reconciliation"),
            _("The entry is removed from this list. Your note is kept with it."),
            page="tenants/console/confirm.html",
        )
    )
    if confirmation:
        return confirmation
    try:
        command.close_manually(db(), exception_id, request.form.get("note", ""))
    except Conflict as refused:
        flash(_(refused.sentence), "wait")
        return redirect(here("console.reconciliation"), 303)
    except Invalid as wrong:
        return _page(exception_id, {name: _(message) for name, message in wrong.fields.items()}), 422
    flash(_("Entry closed. Your note is kept with it."), "good")
    return redirect(here("console.reconciliation"), 303)


def _amount(waits: staff_lists.OpenException) -> str:
    if waits.what is not None:
        return formatter().money(waits.what.amount_minor, waits.what.currency)
    return formatter().money(waits.exception.theirs_minor or 0, waits.exception.theirs_currency or "")


def _page(exception_id: str = "", errors: dict[str, str] | None = None) -> str:
    return render_template(
        "tenants/console/reconciliation.html",
        rows=staff_lists.waiting(db()),
        base=here("console.reconciliation"),
        payments_url=here("console.payments"),
        refused=exception_id,
        errors=errors or {},
        typed=request.form,
        may_act=current_member().may("money.refund"),
    )
