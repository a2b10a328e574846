"""Settings → Payments: the accounts where customers' payments are charged. Owners connect, change and close them."""

from __future__ import annotations

from typing import Any

from flask import flash, redirect, render_template, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l

from billing.charging import account_tests
from billing.charging import payment_accounts as command
from billing.charging.payment_accounts import AccountForm
from billing.customers.portal_settings import the_business
from billing.model.payment_accounts import SANDBOX, PaymentAccount
from billing.pricing.tax_setup import is_set_up
from core import clock
from core.errors import Conflict, Invalid, PortalError
from core.links import here
from core.request_context import db, services
from portal.confirmation import unconfirmed
from tenants.console.access import bp, current_member, needs, needs_fresh_proof
from tenants.emails import notify_owners

KINDS: dict[str, Any] = {SANDBOX: _l("Sandbox (moves no money)"), "stripe": "Stripe"}
"""Kind → the name that staff see. A kind is offered only if this deployment has it."""


@bp.get("/<business_id>/settings/payments")
@needs("settings.read")
def payment_accounts() -> ResponseReturnValue:
    return render_template(
        "tenants/console/payment_accounts.html",
        rows=command.accounts_of(db()),
        kinds=KINDS,
        base=here("console.settings"),
        may_write=current_member().may("settings.write"),
        has_kinds=bool(services().processor.accounts.kinds),
        has_taxes=is_set_up(the_business(db())),
        taxes_url=here("console.taxes"),
        is_test=services().settings.is_test,
    )


@bp.get("/<business_id>/settings/payments/new")
@needs("settings.write")
@needs_fresh_proof
def new_payment_account() -> ResponseReturnValue:
    return _form({})


@bp.post("/<business_id>/settings/payments/new")
@needs("settings.write")
@needs_fresh_proof
def connect_payment_account() -> ResponseReturnValue:
    """Check the key at the processor, before the transaction of this request begins, and connect the account."""
    form = AccountForm(*(request.form.get(name, "") for name in ("kind", "label", "secret_key", "webhook_secret")))
    accounts = services().processor.accounts
    try:
        report = command.check_account(accounts, current_member().business_id, form)
        row = command.connect_account(accounts, db(), form, report)
    except Invalid as wrong:
        return _form(request.form, {name: _(sentence) for name, sentence in wrong.fields.items()}), 422
    except PortalError as refused:  # connected already, or the processor does not answer
        return _form(request.form, {"secret_key": _(refused.sentence)}), 422
    notify_owners(db(), "payments_changed", " ".join(form.label.split()))
    if report.missing:
        flash(_("Connected. The key lacks these permissions: %(names)s.", names=", ".join(report.missing)), "wait")
    else:
        flash(_("Connected. The account can take payments."), "good")
    return redirect(address_of(row), 303)


@bp.get("/<business_id>/settings/payments/<account_id>")
@needs("settings.read")
def payment_account(account_id: str) -> ResponseReturnValue:
    return account_page(account_id)


@bp.post("/<business_id>/settings/payments/<account_id>/default")
@needs("settings.write")
@needs_fresh_proof
def make_default_payment_account(account_id: str) -> ResponseReturnValue:
    command.make_default(db(), account_id)
    return changed(account_id, _("New cards are now charged at this account."))


@bp.post("/<business_id>/settings/payments/<account_id>/currencies")
@needs("settings.write")
@needs_fresh_proof
def set_default_currencies(account_id: str) -> ResponseReturnValue:
    try:
        command.set_default_currencies(db(), account_id, request.form.get("currencies", "").replace(",", " ").split())
    except Invalid as wrong:
        return account_page(account_id, {name: _(sentence) for name, sentence in wrong.fields.items()}), 422
    return changed(account_id, _("Default currencies saved."))


@bp.post("/<business_id>/settings/payments/<account_id>/stop")
@needs("settings.write")
@needs_fresh_proof
def stop_charges(account_id: str) -> ResponseReturnValue:
    _row, details = command.load_account(db(), account_id)
    users = command.paying_subscriptions(db(), account_id)
    confirmation = unconfirmed(
        _("Stop charges at %(name)s?", name=details.label),
        _("Stop charges"),
        f"{here('console.payment_accounts')}/{account_id}",
        _("Refunds of earlier payments stay possible."),
        _("Subscriptions that pay with a card saved here: %(num)s. Their next renewal asks the customer for a new card.", num=users),
        page="tenants/console/confirm.html",
    )
    if confirmation:
        return confirmation
    command.stop_charges(db(), account_id)
    return changed(account_id, _("This account takes no new charges. Open payments are settled or cancelled now."))


@bp.post("/<business_id>/settings/payments/<account_id>/resumption")
@needs("settings.write")
@needs_fresh_proof
def resume_charges(account_id: str) -> ResponseReturnValue:
    command.resume_charges(db(), account_id)
    return changed(account_id, _("This account takes charges again."))


@bp.post("/<business_id>/settings/payments/<account_id>/closing")
@needs("settings.write")
@needs_fresh_proof
def close_payment_account(account_id: str) -> ResponseReturnValue:
    _row, details = command.load_account(db(), account_id)
    confirmation = unconfirmed(
        _("Close %(name)s?", name=details.label),
        _("Close account"),
        f"{here('console.payment_accounts')}/{account_id}",
        _("Payments of this account can no longer be refunded here."),
        page="tenants/console/confirm.html",
    )
    if confirmation:
        return confirmation
    try:
        command.close_account(db(), account_id)
    except Conflict as refused:
        flash(_(refused.sentence), "due")
        return redirect(f"{here('console.payment_accounts')}/{account_id}", 303)
    return changed(account_id, _("Account closed."))


def changed(account_id: str, sentence: str) -> ResponseReturnValue:
    row, details = command.load_account(db(), account_id)
    notify_owners(db(), "payments_changed", details.label)
    flash(sentence, "good")
    return redirect(address_of(row), 303)


def address_of(row: PaymentAccount) -> str:
    return f"{here('console.payment_accounts')}/{row.id}"


def _form(typed: Any, errors: dict[str, str] | None = None) -> str:
    available = services().processor.accounts.kinds
    return render_template(
        "tenants/console/payment_account_new.html",
        values={name: typed.get(name, "") for name in ("kind", "label")},
        errors=errors or {},
        kinds=[(kind, label) for kind, label in KINDS.items() if kind in available],
        back=here("console.payment_accounts"),
        is_test=services().settings.is_test,
    )


def account_page(account_id: str, errors: dict[str, str] | None = None) -> str:
    row, details = command.read_account(db(), account_id)
    return render_template(
        "tenants/console/payment_account.html",
        row=row,
        details=details,
        errors=errors or {},
        typed_currencies=request.form.get("currencies", ", ".join(row.default_currencies or ())),
        kind=KINDS.get(row.kind, row.kind),
        base=address_of(row),
        back=here("console.payment_accounts"),
        webhook_url=f"{services().settings.base_url}/incoming/{row.kind}/{row.id}",
        needs_webhook=row.kind != SANDBOX,
        former_until=details.former_webhook_secret_until if details.sealed_former_webhook_secret else None,
        key_days=(clock.wall() - (details.key_set_at or row.created_at)).days,
        test=account_tests.last_test(details),
        waiting=command.open_operations(db(), row.id),
        users=command.paying_subscriptions(db(), row.id),
        may_write=current_member().may("settings.write"),
    )
