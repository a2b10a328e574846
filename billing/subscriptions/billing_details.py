"""Change billing details: on a subscription for future invoices, and as a corrected document for an issued invoice."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import stdnum.exceptions
from babel import Locale
from sqlalchemy import func, select
from sqlalchemy.orm import undefer
from stdnum import get_cc_module

from billing.external.enqueue import is_delegated
from billing.model.corrections import Correction, why_not_correctable
from billing.model.events import emit_subscription_event
from billing.model.invoices import Invoice
from billing.model.lifecycle import LIVE
from billing.model.parties import Customer
from billing.model.postal_addresses import PARTS, address_lines
from billing.model.subscriptions import Subscription, load_subscription
from billing.pricing.taxes import is_reverse_charge
from billing.subscriptions.shown_details import details_of, version_of
from billing.subscriptions.tax_id_checks import marked, request_check
from core import clock
from core.db import ScopedSession
from core.errors import N_, Conflict, Invalid, NotFound
from core.ids import new_id
from core.outbox import emit

CHANGED_MEANWHILE = N_("The billing details have changed since you opened them. Review them and save again.")
EXTERNAL = N_("This subscription is billed by another system. Change it there.")
_LIMITS = {"name": 200, "street": 200, "city": 100, "state": 100, "zipcode": 20, "business_name": 250, "tax_id": 50}
_TOO_LONG = {  # whole sentences, so that each can be translated
    20: N_("Please keep it under 20 characters."),
    50: N_("Please keep it under 50 characters."),
    100: N_("Please keep it under 100 characters."),
    200: N_("Please keep it under 200 characters."),
    250: N_("Please keep it under 250 characters."),
}
COUNTRIES = frozenset(str(territory) for territory in Locale("en").territories if re.fullmatch("[A-Z]{2}", str(territory))) - {
    "EU",
    "EZ",
    "UN",
    "XA",
    "XB",
    "ZZ",
    "QO",
}


def clean_details(details: Mapping[str, str | None]) -> dict[str, str | None]:
    """Return {name, street, city, state, zipcode, country, business_name, tax_id} trimmed, empty as None. Raises Invalid with `fields`."""
    out = {name: " ".join((details.get(name) or "").split()) or None for name in (*_LIMITS, "country")}
    problems = {name: _TOO_LONG[limit] for name, limit in _LIMITS.items() if len(out[name] or "") > limit}
    country = (out["country"] or "").upper()
    out["country"] = country
    if country not in COUNTRIES:
        problems["country"] = N_("Choose a country.")
    if not out["name"]:
        problems["name"] = N_("Enter the name for the invoice.")
    if out["tax_id"] and "tax_id" not in problems and "country" not in problems:
        try:
            out["tax_id"] = check_tax_id(out["tax_id"], country)
        except Invalid as invalid:
            problems |= invalid.fields
    if out["business_name"] and not out["tax_id"] and "tax_id" not in problems:
        problems["tax_id"] = N_("Enter the company's tax number.")
    if problems:
        raise Invalid("INVALID_TAX_ID" if set(problems) == {"tax_id"} else None, fields=problems)
    return out


def check_tax_id(text: str, country: str) -> str:
    """Check a tax number by its country's rules, where known, and return its compact form. Raises Invalid (tax_id)."""
    module = get_cc_module("gr" if country == "EL" else country.lower(), "vat")
    if module is None:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9 ./-]{2,48}", text):
            raise Invalid("INVALID_TAX_ID", fields={"tax_id": N_("This is not a valid tax number.")})
        return text
    try:
        number = str(module.validate(text))
    except stdnum.exceptions.ValidationError:
        raise Invalid("INVALID_TAX_ID", fields={"tax_id": N_("This tax number is not valid in this country.")}) from None
    prefix = "EL" if country == "GR" else country
    return prefix + number if re.match(prefix, text.strip().upper()) and not number.upper().startswith(prefix) else number


def edit_billing(
    db: ScopedSession,
    subscription_id: str,
    *,
    name: str,
    street: str | None,
    city: str | None,
    state: str | None,
    zipcode: str | None,
    country: str,
    business_name: str | None = None,
    tax_id: str | None = None,
    version: str | None = None,
) -> Subscription:
    """Set the billing details of future invoices. A company name needs a tax number. `version`: of the details that the form showed.

    Raises NotFound, Conflict (the subscription has ended, the details have changed since), Invalid (fields as the parameters).
    """
    subscription = load_subscription(db, subscription_id)
    if subscription.status not in LIVE:
        raise Conflict("SUBSCRIPTION_INACTIVE", N_("This subscription has ended. No more invoices will be issued for it."))
    new = clean_details(
        {
            "name": name,
            "street": street,
            "city": city,
            "state": state,
            "zipcode": zipcode,
            "country": country,
            "business_name": business_name,
            "tax_id": tax_id,
        }
    )
    before = details_of(subscription, db.scalar(select(Customer.name).where(Customer.customer_id == subscription.customer_id)))
    if version and version != version_of(before):
        raise Conflict("BILLING_DETAILS_CHANGED", CHANGED_MEANWHILE)
    if subscription.collected_by == "us":
        before["name"] = (subscription.billing or {}).get("name")
    changed = sorted(field for field, value in new.items() if before[field] != value)
    if not changed:
        return subscription
    company, number = new.pop("business_name"), new.pop("tax_id")
    address = {part: new[part] or "" for part in ("street", "city", "state", "zipcode", "country")}
    requested = {"billing": address, "name": new["name"], "business_name": company, "tax_id": number, "before": before}
    if is_delegated(db, subscription, "edit_billing", EXTERNAL, **requested):
        return subscription
    status = request_check(db, subscription.business_id, subscription.customer_id, number, new["country"])
    subscription.billing = marked(_replace_address(subscription.billing or {}, new), status)
    subscription.business_name, subscription.tax_id = company, number
    emit_subscription_event(db, subscription, "subscription.billing_details_changed", fields=changed)
    return subscription


def _replace_address(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """Replace the whole address. An imported tax rate (`tax_bps`) depends on the country, so it stays while the country does."""
    return {**new, "tax_bps": old["tax_bps"]} if "tax_bps" in old and old.get("country") == new["country"] else new


def correct_invoice(db: ScopedSession, invoice_id: str, details: Mapping[str, str | None]) -> Correction:
    """Issue a corrected document with other buyer details (as `clean_details`). Amounts, tax and date of the invoice stay.

    Country and tax number decide the tax, so neither can change to one that would be taxed differently.
    Raises NotFound, Conflict (void, or issued by another billing system), Invalid.
    """
    invoice = db.scalar(select(Invoice).options(undefer(Invoice.snapshot)).where(Invoice.id == invoice_id).with_for_update())
    if invoice is None:
        raise NotFound(sentence=N_("There is no such invoice."))
    if (refused := why_not_correctable(invoice)) is not None:
        raise refused
    new = clean_details(details)
    _check_same_tax(invoice, new)
    previous = invoice.snapshot["buyer"]
    buyer = {
        **previous,
        "name": new["name"],
        "business_name": new["business_name"],
        "lines": address_lines(new),
        "address": {part: new[part] for part in PARTS},
        "country": new["country"],
        "tax_id": new["tax_id"],
    }
    of_invoice = (Correction.business_id == invoice.business_id, Correction.invoice_id == invoice.id)
    latest = select(Correction).options(undefer(Correction.snapshot)).where(*of_invoice).order_by(Correction.version.desc())
    last = db.scalar(latest.limit(1))
    if last is not None and _printed(last.snapshot["buyer"]) == _printed(buyer):
        return last
    if last is None and _printed(previous) == _printed(buyer):
        raise Invalid(sentence=N_("The invoice already has these details."), fields={"name": N_("Nothing has changed.")})
    version = (db.scalar(select(func.count()).select_from(Correction).where(*of_invoice)) or 0) + 1
    row = _correction(invoice, buyer, version, corrects=last.number if last else invoice.number)
    db.add(row)
    emit(
        db,
        "invoice.corrected",
        business_id=invoice.business_id,
        customer_id=invoice.customer_id,
        noun=invoice.id,
        data={"number": row.number, "corrects": invoice.number},
    )
    return row


def _check_same_tax(invoice: Invoice, new: Mapping[str, str | None]) -> None:
    """Raises Invalid if the new country or tax number would change the tax of the invoice."""
    previous = invoice.snapshot["buyer"]
    if previous.get("country") and previous["country"] != new["country"]:
        raise Invalid(fields={"country": N_("The tax you paid depends on the country. Ask the business for a new invoice.")})
    if previous.get("country") == new["country"] and previous.get("tax_id") == new["tax_id"]:
        return  # an invoice with a number that VIES did not know is taxed, and keeps its number
    seller, taxed = invoice.snapshot["seller"], invoice.snapshot["tax"]
    reverse = is_reverse_charge(seller.get("country"), seller.get("tax_id"), new["country"], new["tax_id"])
    if any(item["tax_minor"] for item in taxed) if reverse else any(item.get("code") == "AE" for item in taxed):
        raise Invalid(fields={"tax_id": N_("The tax you paid depends on the tax number. Ask the business for a new invoice.")})


def _correction(invoice: Invoice, buyer: dict[str, Any], version: int, *, corrects: str) -> Correction:
    number, at = f"{invoice.number}-C{version}", clock.now()
    return Correction(
        business_id=invoice.business_id,
        customer_id=invoice.customer_id,
        id=new_id("cor"),
        invoice_id=invoice.id,
        version=version,
        number=number,
        created_at=at,
        snapshot={
            **invoice.snapshot,
            "number": number,
            "corrects": corrects,
            "issued_at": at.isoformat(),
            "buyer": buyer,
            **({"paid": invoice.receipt} if invoice.receipt else {}),
        },
    )


def _printed(buyer: Mapping[str, Any]) -> tuple[Any, ...]:
    """The buyer's details as printed, independent of the order of the address parts."""
    parts = sorted(word.strip(",") for line in buyer.get("lines") or [] for word in line.split())
    return (*(buyer.get(name) or None for name in ("name", "business_name", "email", "country", "tax_id")), parts)
