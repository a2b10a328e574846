"""Edit the billing details of future invoices, and issue a corrected invoice."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import flash, redirect, render_template, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from auth.visit_rows import Account
from billing.customers.customer_type import set_by_customer
from billing.external.port import DETAILS_OF_CUSTOMERS, can
from billing.history import documents
from billing.model.corrections import why_not_correctable
from billing.model.lifecycle import LIVE
from billing.model.postal_addresses import PARTS, address_lines
from billing.subscriptions import billing_details as command
from billing.subscriptions import queries as query
from billing.subscriptions.shown_details import details_of, version_of
from billing.subscriptions.subscription_row import SubscriptionRow
from core.errors import Conflict, Invalid, NotFound
from core.formatting import locale_of
from core.links import here
from core.request_context import db
from core.template_context import formatter
from portal import bp
from portal.external_billing import back_to_subscription
from portal.phrases import type_choices
from portal.request_accounts import open_account

FIELDS = ("name", "business_name", "tax_id", "street", "city", "zipcode", "state", "country")


@bp.get("/subscriptions/<subscription_id>/billing-details")
def billing_details(subscription_id: str) -> ResponseReturnValue:
    row, theirs = _editable(subscription_id)
    return _page(row, theirs, _values_of_subscription(row, theirs))


@bp.post("/subscriptions/<subscription_id>/billing-details")
def edit_billing_details(subscription_id: str) -> ResponseReturnValue:
    row, theirs = _editable(subscription_id)
    typed, customer_type = _submitted(), request.form.get("customer_type", "")
    try:
        set_by_customer(db(), row.customer_id, customer_type)
        command.edit_billing(db(), row.id, **typed, version=request.form.get("version"))
    except Invalid as wrong:
        values = {**typed, "customer_type": customer_type}
        return _page(row, theirs, values, _translated(wrong), version=request.form.get("version", "")), 422
    except Conflict as wrong:
        if wrong.code != "BILLING_DETAILS_CHANGED":
            raise
        return _page(row, theirs, _values_of_subscription(row, theirs), {"name": _(wrong.sentence)}), wrong.status
    if row.collected_by != "us":
        return back_to_subscription(row)
    flash(_("Saved. Future invoices for %(name)s will show these details.", name=row.name), "good")
    return redirect(f"{here('subscriptions')}/{row.id}#billing", 303)


@bp.get("/invoices/<invoice_id>/correction")
def invoice_correction(invoice_id: str) -> ResponseReturnValue:
    found = documents.invoice(db(), invoice_id)
    return _correction_page(found, _values_of_invoice(found))


@bp.post("/invoices/<invoice_id>/correction")
def correct_invoice(invoice_id: str) -> ResponseReturnValue:
    found, typed = documents.invoice(db(), invoice_id), _submitted()
    _open(found)
    try:
        made = command.correct_invoice(db(), invoice_id, typed)
    except Invalid as wrong:
        return _correction_page(found, typed, _translated(wrong)), 422
    flash(_("The corrected invoice %(number)s was issued. The original invoice is kept.", number=made.number), "good")
    return redirect(f"{here('invoices')}/{invoice_id}", 303)


def _page(row: SubscriptionRow, theirs: Account, values: Mapping[str, Any], errors: dict[str, str] | None = None, version: str = "") -> str:
    """Return the form. It keeps the `version` of the details that it showed first."""
    return render_template(
        "portal/billing_details.html",
        row=row,
        account=theirs,
        url=f"{here('subscriptions')}/{row.id}",
        values=values,
        errors=errors or {},
        countries=countries(),
        customer_types=type_choices(),
        version=version or version_of(details_of(row, theirs.customer_name)),
        is_shared=row.collected_by in DETAILS_OF_CUSTOMERS,
    )


def _correction_page(found: documents.OneInvoice, values: Mapping[str, Any], errors: dict[str, str] | None = None) -> str:
    theirs = _open(found)
    return render_template(
        "portal/invoice_correction.html",
        invoice=found.invoice,
        account=theirs,
        url=f"{here('invoices')}/{found.invoice.id}",
        values=values,
        errors=errors or {},
        countries=countries(),
        is_country_fixed=bool(found.snapshot["buyer"].get("country")),
    )


def _open(found: documents.OneInvoice) -> Account:
    """Return the account of an invoice that can be corrected. Raises Conflict if it cannot."""
    theirs = open_account(found.invoice.business_id, found.invoice.customer_id)
    if (refused := why_not_correctable(found.invoice)) is not None:
        raise Conflict(refused.code, _(refused.sentence))
    return theirs


def _editable(subscription_id: str) -> tuple[SubscriptionRow, Account]:
    row = query.get_subscription(db(), subscription_id)
    theirs = open_account(row.business_id, row.customer_id)
    if not can(row.collected_by, "edit_billing"):
        raise Conflict("UNSUPPORTED_ACTION", _("This subscription is billed by another system. Change it there."))
    if row.status not in LIVE:
        raise Conflict("SUBSCRIPTION_INACTIVE", _("This subscription has ended. No more invoices will be issued for it."))
    return row, theirs


def _values_of_subscription(row: SubscriptionRow, theirs: Account) -> dict[str, Any]:
    billing = row.billing or {}
    address = {name: billing.get(name) or "" for name in ("street", "city", "zipcode", "state", "country")}
    return {
        **address,
        "name": billing.get("name") or theirs.customer_name,
        "business_name": row.business_name or "",
        "tax_id": row.tax_id or "",
        "customer_type": theirs.own_type or "",
    }


def values_of_invoice(invoice_id: str) -> dict[str, Any]:
    """Return the billing details of the latest document of an invoice. Raises NotFound."""
    return _values_of_invoice(documents.invoice(db(), invoice_id))


def _values_of_invoice(found: documents.OneInvoice) -> dict[str, Any]:
    """Return the billing details of the latest document of an invoice.

    Old documents store only printed address lines. The address parts are then taken from the subscription if its address matches.
    """
    last = documents.corrections(db(), found.invoice.id, with_snapshots=True)
    buyer = (last[-1].snapshot if last else found.snapshot)["buyer"]
    names = {name: buyer.get(name) or "" for name in ("name", "business_name", "tax_id", "country")}
    if buyer.get("address"):
        return {**names, **{part: buyer["address"].get(part) or "" for part in PARTS}}
    printed = [*(buyer.get("lines") or []), "", "", ""]  # imported documents may have no address at all
    parts = {"street": printed[0], "city": printed[1], "zipcode": "", "state": printed[2]}
    if found.invoice.subscription_id:
        try:
            billing = query.get_subscription(db(), found.invoice.subscription_id).billing or {}
        except NotFound:
            billing = {}
        if sorted(" ".join(address_lines(billing)).split()) == sorted(" ".join(buyer.get("lines") or []).split()):
            parts = {name: billing.get(name) or "" for name in parts}
    return {**parts, **names}


def _submitted() -> dict[str, str]:
    return {name: request.form.get(name, "") for name in FIELDS}


def _translated(wrong: Invalid) -> dict[str, str]:
    return {name: _(sentence) for name, sentence in wrong.fields.items()}


def countries() -> list[tuple[str, str]]:
    """Return (code, name in the customer's language), sorted by name."""
    territories = locale_of(formatter().locale).territories
    found = sorted(((code, str(territories.get(code) or code)) for code in command.COUNTRIES), key=lambda item: item[1].casefold())
    return [("", _("Choose a country")), *found]
