"""Who invoices are made out to: the next ones, and a corrected document beside one that was issued."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import flash, redirect, render_template, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from billing.commands import billing_details as command
from billing.elsewhere import can
from billing.postal import PARTS, address_lines
from billing.queries import documents
from billing.queries import subscriptions as query
from billing.queries.subscriptions import SubscriptionRow
from core.errors import Conflict, Invalid, NotFound
from core.format import locale_of
from core.pages import words
from core.web import db, here
from portal import bp
from portal.elsewhere import asked
from portal.standing import Account, open_account

FIELDS = ("name", "business_name", "tax_id", "street", "city", "zipcode", "state", "country")


@bp.get("/subscriptions/<subscription_id>/billing-details")
def billing_details(subscription_id: str) -> ResponseReturnValue:
    row, theirs = _ours(subscription_id)
    return _page(row, theirs, _of_row(row, theirs))


@bp.post("/subscriptions/<subscription_id>/billing-details")
def edit_billing_details(subscription_id: str) -> ResponseReturnValue:
    row, theirs = _ours(subscription_id)
    typed = _typed()
    try:
        command.edit_billing(db(), row.id, **typed)  # type: ignore[arg-type]
    except Invalid as wrong:
        return _page(row, theirs, typed, _said(wrong)), 422
    if row.collected_by != "us":
        return asked(row)
    flash(_("Saved. The next invoices for %(name)s are made out like this.", name=row.name), "good")
    return redirect(f"{here('subscriptions')}/{row.id}#billing", 303)


@bp.get("/invoices/<invoice_id>/correction")
def invoice_correction(invoice_id: str) -> ResponseReturnValue:
    found = documents.invoice(db(), invoice_id)
    return _ask(found, _of_invoice(found))


@bp.post("/invoices/<invoice_id>/correction")
def correct_invoice(invoice_id: str) -> ResponseReturnValue:
    found, typed = documents.invoice(db(), invoice_id), _typed()
    _open(found)
    try:
        made = command.correct_invoice(db(), invoice_id, typed)
    except Invalid as wrong:
        return _ask(found, typed, _said(wrong)), 422
    flash(_("Corrected. %(number)s stands beside the invoice as it was issued; both stay.", number=made.number), "good")
    return redirect(f"{here('invoices')}/{invoice_id}", 303)


def _page(row: SubscriptionRow, theirs: Account, values: Mapping[str, Any], errors: dict[str, str] | None = None) -> str:
    return render_template(
        "portal/billing_details.html", row=row, account=theirs, url=f"{here('subscriptions')}/{row.id}", values=values, errors=errors or {},
        countries=countries())


def _ask(found: documents.OneInvoice, values: Mapping[str, Any], errors: dict[str, str] | None = None) -> str:
    theirs = _open(found)
    return render_template(
        "portal/invoice_correction.html", invoice=found.invoice, account=theirs, url=f"{here('invoices')}/{found.invoice.id}",
        values=values, errors=errors or {}, countries=countries(), is_country_fixed=bool(found.snapshot["buyer"].get("country")))


def _open(found: documents.OneInvoice) -> Account:
    """The account of an invoice that may be corrected. Raises Conflict."""
    theirs = open_account(found.invoice.business_id, found.invoice.customer_id)
    if found.invoice.status == "void":
        raise Conflict("INVOICE_VOID", "This invoice is void; there is nothing to correct.")
    return theirs


def _ours(subscription_id: str) -> tuple[SubscriptionRow, Account]:
    row = query.one(db(), subscription_id)
    theirs = open_account(row.business_id, row.customer_id)
    if not can(row.collected_by, "edit_billing"):
        raise Conflict("UNSUPPORTED_ACTION", "This subscription is billed by another system. Change it there.")
    if row.status not in ("active", "past_due", "on_hold", "paused"):
        raise Conflict("SUBSCRIPTION_INACTIVE", "This has ended; no more invoices are made for it.")
    return row, theirs


def _of_row(row: SubscriptionRow, theirs: Account) -> dict[str, Any]:
    one = row.billing or {}
    kept = {name: one.get(name) or "" for name in ("street", "city", "zipcode", "state", "country")}
    return {**kept, "name": one.get("name") or theirs.customer_name, "business_name": row.business_name or "", "tax_id": row.tax_id or ""}


def _of_invoice(found: documents.OneInvoice) -> dict[str, Any]:
    """What the last document says. One of before keeps printed lines alone; the subscription's address has their parts where it still
    says the same."""
    last = documents.corrections(db(), found.invoice.id, with_words=True)
    buyer = (last[-1].snapshot if last else found.snapshot)["buyer"]
    names = {name: buyer.get(name) or "" for name in ("name", "business_name", "tax_id", "country")}
    if buyer.get("address"):
        return {**names, **{part: buyer["address"].get(part) or "" for part in PARTS}}
    printed = [*(buyer.get("lines") or []), "", ""]
    parts = {"street": printed[0], "city": printed[1], "zipcode": "", "state": printed[2]}
    if found.invoice.subscription_id:
        try:
            billing = query.one(db(), found.invoice.subscription_id).billing or {}
        except NotFound:
            billing = {}
        if sorted(" ".join(address_lines(billing)).split()) == sorted(" ".join(buyer.get("lines") or []).split()):
            parts = {name: billing.get(name) or "" for name in parts}
    return {**parts, **names}


def _typed() -> dict[str, str]:
    return {name: request.form.get(name, "") for name in FIELDS}


def _said(wrong: Invalid) -> dict[str, str]:
    return {name: _(sentence) for name, sentence in wrong.fields.items()}


def countries() -> list[tuple[str, str]]:
    """(code, its name in the reader's language), by name."""
    known = locale_of(words().locale).territories
    found = sorted(((code, str(known.get(code) or code)) for code in command.COUNTRIES), key=lambda one: one[1].casefold())
    return [("", _("Choose a country")), *found]
