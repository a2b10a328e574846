"""Settings → Taxes: who calculates the tax, the portal's own table or Stripe Tax."""

from __future__ import annotations

from dataclasses import dataclass

from flask import flash, redirect, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from billing.customers import tax_calculator
from billing.customers.tax_settings import save_calculator
from billing.model.parties import Business
from billing.pricing.tax_setup import STRIPE, TABLE, hosted_account
from core.errors import Invalid, PortalError
from core.links import here
from core.request_context import db
from portal.billing_services import processor
from tenants.console.access import bp, current_member, needs, needs_fresh_proof
from tenants.emails import notify_owners


@dataclass(frozen=True)
class CalculatorView:
    """`account`: the chosen account, empty for the table. `label`: of this account. `choices`: (value, label) of the form."""

    account: str
    label: str
    choices: list[tuple[str, str]]


def calculator_view(business: Business) -> CalculatorView:
    accounts = tax_calculator.stripe_accounts(db(), business.business_id)
    chosen = hosted_account(business)
    choices = [(TABLE, _("Your registrations and rates on this page"))]
    choices += [(account_id, _("Stripe Tax, at the payment account %(name)s", name=label)) for account_id, label in accounts]
    return CalculatorView(chosen or "", dict(accounts).get(chosen or "", chosen or ""), choices)


@bp.post("/<business_id>/taxes/calculator")
@needs("settings.write")
@needs_fresh_proof
def choose_tax_calculator() -> ResponseReturnValue:
    """Store the choice. Stripe is asked first whether it can calculate, before anything is written."""
    account_id = request.form.get("calculator", "")
    typed = {"calculator": TABLE if account_id == TABLE else STRIPE, "calculator_account": account_id}
    try:
        if account_id != TABLE:
            missing = tax_calculator.check(processor().accounts, current_member().business_id, account_id)
            if missing:
                flash(" ".join(_(sentence) for sentence in missing), "due")
                return redirect(here("console.taxes"), 303)
        changed = save_calculator(db(), typed)
    except Invalid as wrong:
        flash(" ".join(_(sentence) for sentence in wrong.fields.values()), "due")
        return redirect(here("console.taxes"), 303)
    except PortalError as silent:  # Stripe does not answer
        flash(_(silent.sentence), "due")
        return redirect(here("console.taxes"), 303)
    if changed:
        notify_owners(db(), "rules_changed", "taxes")
    flash(_("Saved. Future invoices are taxed this way.") if changed else _("No changes."), "good")
    return redirect(here("console.taxes"), 303)
