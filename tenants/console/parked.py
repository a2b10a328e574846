"""Money that waits for a person: what it is about, what to do, and saying that it was done."""

from __future__ import annotations

from flask import flash, redirect, render_template, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from billing.commands import parked as command
from billing.queries import sales
from core.errors import Conflict, Invalid
from core.pages import words
from core.web import db, here, house, scope
from portal.confirming import unconfirmed
from tenants.console.door import bp, fresh, me, needs


@bp.get("/<business_id>/sales/parked")
@needs("money.read")
def parked() -> ResponseReturnValue:
    return _page()


@bp.post("/<business_id>/sales/parked/<parked_id>/question")
@needs("money.refund")
def ask_again(parked_id: str) -> ResponseReturnValue:
    """Ask the provider once more, now. The command opens sessions of its own."""
    if command.ask_again(house().till, scope(), parked_id):
        flash(_("The provider knows now, and it is settled."), "good")
    else:
        flash(_("The provider says what it said before. It still waits for you."), "wait")
    return redirect(here("console.parked"), 303)


@bp.post("/<business_id>/sales/parked/<parked_id>/closing")
@needs("money.refund")
@fresh
def close_parked(parked_id: str) -> ResponseReturnValue:
    waits = next((one for one in sales.waiting(db()) if one.parked.id == parked_id), None)
    asking = waits and request.form.get("note", "").strip() and unconfirmed(
        _("Close %(amount)s?", amount=words().money(waits.what.amount_minor, waits.what.currency)), _("Close it"), here("console.parked"),
        _("It leaves this list. What you wrote is kept with it."), page="tenants/console/confirm.html")
    if asking:
        return asking
    try:
        command.close_by_hand(db(), parked_id, request.form.get("note", ""))
    except Conflict as refused:
        flash(_(refused.sentence), "wait")
        return redirect(here("console.parked"), 303)
    except Invalid as wrong:
        return _page(parked_id, {name: _(said) for name, said in wrong.fields.items()}), 422
    flash(_("Closed. What you wrote is kept with it."), "good")
    return redirect(here("console.parked"), 303)


def _page(parked_id: str = "", errors: dict[str, str] | None = None) -> str:
    return render_template(
        "tenants/console/parked.html", rows=sales.waiting(db()), base=here("console.parked"), payments_url=here("console.payments"),
        refused=parked_id, errors=errors or {}, typed=request.form, may_act=me().may("money.refund"))
