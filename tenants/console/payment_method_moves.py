"""Settings → Payments → Move payment methods: upload a file of old and new references, look at what it does, and confirm it."""

from __future__ import annotations

from flask import Response, flash, redirect, render_template, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from billing.charging import method_move_files, payment_accounts
from billing.charging.method_move_files import MOST_BYTES, MOST_LINES
from billing.charging.method_moves import AccountPair, BadLines, read_lines
from billing.model.method_move_files import MethodMoveFile
from billing.model.payment_accounts import PaymentAccount, PaymentAccountDetails
from core.errors import Conflict, NotFound
from core.links import here
from core.request_context import db, services
from core.request_limits import takes_upload
from tenants.console.access import bp, current_member, needs, needs_fresh_proof
from tenants.console.payment_account_test import REFRESH_SECONDS
from tenants.emails import notify_owners

SHOWN = 50  # wrong lines on a page
EXAMPLE = "old,new\npm_1NoldOldOld,pm_1QnewNewNew"


@bp.get("/<business_id>/settings/payments/<account_id>/methods")
@needs("settings.write")
@needs_fresh_proof
def payment_method_moves(account_id: str) -> ResponseReturnValue:
    """Show the form, and the state of the last file. The page refreshes while the worker has something to do."""
    row, details = _account(account_id)
    file = method_move_files.last_file(db(), account_id)
    page = Response(_page(row, details, file))
    if file is not None and file.due_at is not None:
        page.headers["Refresh"] = str(REFRESH_SECONDS)
    return page


@bp.post("/<business_id>/settings/payments/<account_id>/methods")
@takes_upload(2 * MOST_BYTES)  # twice the limit, so that a slightly larger file gets an error message beside the field
@needs("settings.write")
@needs_fresh_proof
def upload_payment_method_moves(account_id: str) -> ResponseReturnValue:
    """Read a file, and let the worker check it. A file that cannot be read changes nothing."""
    row, details = _account(account_id)
    sent, new = request.files.get("file"), request.form.get("to", "")
    raw = sent.read() if sent else b""
    errors, problems = {}, list[tuple[int, str]]()
    if new not in dict(_targets(row)):
        errors["to"] = _("Choose the account that has the payment methods now.")
    if not raw:
        errors["file"] = _("Choose a file first.")
    elif len(raw) > MOST_BYTES:
        errors["file"] = _("The file is larger than 512 KB. Ask the operator of this portal to move it with the command.")
    else:
        try:
            lines = read_lines(raw.decode("utf-8"), MOST_LINES)
        except UnicodeDecodeError:
            errors["file"] = _("Save the file as text in UTF-8.")
        except BadLines as bad:
            errors["file"], problems = _("Nothing was moved. Correct the file and upload it again."), bad.problems
    if errors:
        return _page(row, details, method_move_files.last_file(db(), account_id), errors, problems), 422
    try:
        method_move_files.start(services().processor, db(), AccountPair(current_member().business_id, account_id, new), lines)
    except Conflict as refused:
        flash(_(refused.sentence), "due")
    return redirect(_address(row), 303)


@bp.post("/<business_id>/settings/payments/<account_id>/methods/confirmation")
@needs("settings.write")
@needs_fresh_proof
def confirm_payment_method_moves(account_id: str) -> ResponseReturnValue:
    row, details = _account(account_id)
    try:
        if method_move_files.confirm(db(), account_id, request.form.get("checked_at", "")):
            notify_owners(db(), "payments_changed", details.label)
        else:
            flash(_("The file was checked more than an hour ago. It is checked again now."), "wait")
    except Conflict as refused:
        flash(_(refused.sentence), "due")
    return redirect(_address(row), 303)


@bp.post("/<business_id>/settings/payments/<account_id>/methods/removal")
@needs("settings.write")
@needs_fresh_proof
def discard_payment_method_moves(account_id: str) -> ResponseReturnValue:
    row, _details = _account(account_id)
    try:
        method_move_files.discard(db(), account_id)
        flash(_("File discarded. Nothing was moved."), "good")
    except Conflict as refused:
        flash(_(refused.sentence), "due")
    return redirect(_address(row), 303)


def _account(account_id: str) -> tuple[PaymentAccount, PaymentAccountDetails]:
    """Return an account without new charges. Raises NotFound."""
    row, details = payment_accounts.read_account(db(), account_id)
    if row.state == "open":
        raise NotFound(sentence=_("Stop charges at this account first."))
    return row, details


def _address(row: PaymentAccount) -> str:
    return f"{here('console.payment_accounts')}/{row.id}/methods"


def _targets(row: PaymentAccount) -> list[tuple[str, str]]:
    """Return the open accounts that methods can be moved to, with their labels."""
    return [
        (other.id, details.label) for other, details in payment_accounts.accounts_of(db()) if other.state == "open" and other is not row
    ]


def _page(
    row: PaymentAccount,
    details: PaymentAccountDetails,
    file: MethodMoveFile | None,
    errors: dict[str, str] | None = None,
    problems: list[tuple[int, str]] | None = None,
) -> str:
    targets = _targets(row)
    found = sorted(problems or (file.problems if file is not None else []), key=lambda item: item[0])
    return render_template(
        "tenants/console/payment_method_moves.html",
        details=details,
        file=None if errors else file,
        errors=errors or {},
        problems=[(number, _(sentence)) for number, sentence in found[:SHOWN]],
        more=max(len(found) - SHOWN, 0),
        targets=targets,
        chosen=request.form.get("to", file.to_account_id if file is not None else ""),
        target=dict(targets).get(file.to_account_id, "") if file is not None else "",
        most=MOST_LINES,
        example=EXAMPLE,
        back=here("console.payment_accounts"),
        account_url=f"{here('console.payment_accounts')}/{row.id}",
        base=_address(row),
    )
