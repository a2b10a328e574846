"""Settings → Payments → an account: replace its key and the secret of its webhook."""

from __future__ import annotations

from flask import flash, render_template, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from billing.charging import account_keys, payment_accounts
from billing.charging.account_keys import KeyForm
from billing.model.payment_accounts import SANDBOX
from core.errors import Invalid, NotFound, PortalError
from core.links import here
from core.request_context import db, services
from tenants.console.access import bp, current_member, needs, needs_fresh_proof
from tenants.console.payment_accounts import KINDS, account_page, changed


@bp.get("/<business_id>/settings/payments/<account_id>/key")
@needs("settings.write")
@needs_fresh_proof
def payment_account_key(account_id: str) -> ResponseReturnValue:
    return _form(account_id)


@bp.post("/<business_id>/settings/payments/<account_id>/key")
@needs("settings.write")
@needs_fresh_proof
def replace_payment_account_key(account_id: str) -> ResponseReturnValue:
    """Check the key at the processor, before the transaction of this request begins, and replace the earlier one."""
    accounts, form = services().processor.accounts, KeyForm(*(request.form.get(name, "") for name in ("secret_key", "webhook_secret")))
    try:
        report = account_keys.check_key(accounts, current_member().business_id, account_id, form)
        account_keys.replace_key(accounts, db(), account_id, form, report)
    except Invalid as wrong:
        return _form(account_id, {name: _(sentence) for name, sentence in wrong.fields.items()}), 422
    except NotFound:
        raise
    except PortalError as refused:
        return _form(account_id, {"secret_key": _(refused.sentence)}), 422
    if report.missing:
        flash(_("The key lacks these permissions: %(names)s.", names=", ".join(report.missing)), "wait")
    return changed(account_id, _("Key replaced. You can delete the earlier one at the payment processor."))


@bp.post("/<business_id>/settings/payments/<account_id>/webhook-secret")
@needs("settings.write")
@needs_fresh_proof
def store_payment_webhook_secret(account_id: str) -> ResponseReturnValue:
    try:
        account_keys.replace_webhook_secret(services().processor.accounts, db(), account_id, request.form.get("webhook_secret", ""))
    except Invalid as wrong:
        return account_page(account_id, {name: _(sentence) for name, sentence in wrong.fields.items()}), 422
    return changed(account_id, _("Signing secret saved."))


def _form(account_id: str, errors: dict[str, str] | None = None) -> str:
    row, details = payment_accounts.read_account(db(), account_id)
    if row.kind == SANDBOX or row.state == "closed":
        raise NotFound()
    return render_template(
        "tenants/console/payment_account_key.html",
        details=details,
        errors=errors or {},
        kind=KINDS.get(row.kind, row.kind),
        back=here("console.payment_accounts"),
        base=f"{here('console.payment_accounts')}/{row.id}",
        is_test=services().settings.is_test,
    )
