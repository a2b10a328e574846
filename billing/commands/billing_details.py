"""Who an invoice is made out to: on the subscription for the ones to come, as a corrected document for one that was issued."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import stdnum.exceptions
from babel import Locale
from sqlalchemy import func, select
from sqlalchemy.orm import undefer
from stdnum import get_cc_module

from billing.commands.cancelling import load
from billing.commands.forwarding import forwards
from billing.corrections import Correction
from billing.invoices import Invoice
from billing.lifecycle import LIVE
from billing.plan_switch import note
from billing.postal import PARTS, address_lines
from billing.subscriptions import Subscription
from billing.taxes import is_reverse_charge
from core import clock
from core.db import ScopedSession
from core.errors import Conflict, Invalid, NotFound
from core.ids import new_id
from core.outbox import emit

ELSEWHERE = "This subscription is billed by another system. Change it there."
_LIMITS = {"name": 200, "street": 200, "city": 100, "state": 100, "zipcode": 20, "business_name": 250, "tax_id": 50}
_TOO_LONG = {  # whole sentences: the catalogues know no others
    20: "Please keep it under 20 characters.",
    50: "Please keep it under 50 characters.",
    100: "Please keep it under 100 characters.",
    200: "Please keep it under 200 characters.",
    250: "Please keep it under 250 characters.",
}
COUNTRIES = frozenset(str(one) for one in Locale("en").territories if re.fullmatch("[A-Z]{2}", str(one))) - {
    "EU",
    "EZ",
    "UN",
    "XA",
    "XB",
    "ZZ",
    "QO",
}


def clean_details(details: Mapping[str, str | None]) -> dict[str, str | None]:
    """{name, street, city, state, zipcode, country, business_name, tax_id}: trimmed, empty is None. Raises Invalid with `fields`."""
    out = {name: " ".join((details.get(name) or "").split()) or None for name in (*_LIMITS, "country")}
    bad = {name: _TOO_LONG[most] for name, most in _LIMITS.items() if len(out[name] or "") > most}
    country = (out["country"] or "").upper()
    out["country"] = country
    if country not in COUNTRIES:
        bad["country"] = "Choose a country."
    if not out["name"]:
        bad["name"] = "Write the name that the invoice is made out to."
    if out["tax_id"] and "tax_id" not in bad and "country" not in bad:
        try:
            out["tax_id"] = check_tax_id(out["tax_id"], country)
        except Invalid as wrong:
            bad |= wrong.fields
    if out["business_name"] and not out["tax_id"] and "tax_id" not in bad:
        bad["tax_id"] = "A company's invoice needs its tax number."
    if bad:
        raise Invalid("INVALID_TAX_ID" if set(bad) == {"tax_id"} else None, fields=bad)
    return out


def check_tax_id(text: str, country: str) -> str:
    """The number in its compact form, checked by the country's own rules where they are known. Raises Invalid (tax_id)."""
    module = get_cc_module("gr" if country == "EL" else country.lower(), "vat")
    if module is None:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9 ./-]{2,48}", text):
            raise Invalid("INVALID_TAX_ID", fields={"tax_id": "This is not a tax number."})
        return text
    try:
        number = str(module.validate(text))
    except stdnum.exceptions.ValidationError:
        raise Invalid("INVALID_TAX_ID", fields={"tax_id": "This is not a tax number of this country. Check it."}) from None
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
) -> Subscription:
    """Invoices from now on are made out to this. Without a tax number there is no company name.

    Raises NotFound, Conflict (it is over), Invalid (fields as the parameters).
    """
    subscription = load(db, subscription_id)
    if subscription.status not in LIVE:
        raise Conflict("SUBSCRIPTION_INACTIVE", "This has ended; no more invoices are made for it.")
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
    company, number = new.pop("business_name"), new.pop("tax_id")
    before = {**(subscription.billing or {}), "business_name": subscription.business_name, "tax_id": subscription.tax_id}
    after: dict[str, Any] = {**new, "business_name": company, "tax_id": number}
    changed = sorted(field for field, value in after.items() if (before.get(field) or None) != value)
    if not changed:
        return subscription
    address = {part: new[part] or "" for part in ("street", "city", "state", "zipcode", "country")}
    if forwards(db, subscription, "edit_billing", ELSEWHERE, billing=address, name=new["name"], business_name=company, tax_id=number):
        return subscription
    subscription.billing = _replaced(subscription.billing or {}, new)
    subscription.business_name, subscription.tax_id = company, number
    note(db, subscription, "subscription.billing_details_changed", fields=changed)
    return subscription


def _replaced(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """The new address whole. The rate that another system took (`tax_bps`) is a fact about the country, so it stays with that."""
    return {**new, "tax_bps": old["tax_bps"]} if "tax_bps" in old and old.get("country") == new["country"] else new


def correct_invoice(db: ScopedSession, invoice_id: str, details: Mapping[str, str | None]) -> Correction:
    """A corrected document with other buyer details (as `clean_details`). Amounts, tax and date of the invoice stay.

    Country and VAT id decide the tax, so neither can be corrected here to what would be taxed otherwise.
    Raises NotFound, Conflict (void), Invalid.
    """
    invoice = db.scalar(select(Invoice).options(undefer(Invoice.snapshot)).where(Invoice.id == invoice_id).with_for_update())
    if invoice is None:
        raise NotFound(sentence="There is no such invoice.")
    if invoice.status == "void":
        raise Conflict("INVOICE_VOID", "This invoice is void; there is nothing to correct.")
    new = clean_details(details)
    was = invoice.snapshot["buyer"]
    if was.get("country") and was["country"] != new["country"]:
        raise Invalid(fields={"country": "The country decides the tax that was paid. Ask the business for a new invoice."})
    seller, taxed = invoice.snapshot["seller"], invoice.snapshot["tax"]
    reverse = is_reverse_charge(seller.get("country"), seller.get("tax_id"), new["country"], new["tax_id"])
    if any(one["tax_minor"] for one in taxed) if reverse else any(one.get("code") == "AE" for one in taxed):
        raise Invalid(fields={"tax_id": "The tax number decides the tax that was paid. Ask the business for a new invoice."})
    buyer = {
        **was,
        "name": new["name"],
        "business_name": new["business_name"],
        "lines": address_lines(new),
        "address": {part: new[part] for part in PARTS},
        "country": new["country"],
        "tax_id": new["tax_id"],
    }
    same = (Correction.business_id == invoice.business_id, Correction.invoice_id == invoice.id)
    last = db.scalar(select(Correction).options(undefer(Correction.snapshot)).where(*same).order_by(Correction.version.desc()).limit(1))
    if last is not None and _printed(last.snapshot["buyer"]) == _printed(buyer):
        return last
    if last is None and _printed(was) == _printed(buyer):
        raise Invalid(sentence="These are the details on the invoice.", fields={"name": "Nothing is different."})
    version = (db.scalar(select(func.count()).select_from(Correction).where(*same)) or 0) + 1
    number = f"{invoice.number}-C{version}"
    at = clock.now()
    row = Correction(
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
            "corrects": last.number if last else invoice.number,
            "issued_at": at.isoformat(),
            "buyer": buyer,
            **({"paid": invoice.receipt} if invoice.receipt else {}),
        },
    )
    db.add(row)
    emit(
        db,
        "invoice.corrected",
        business_id=invoice.business_id,
        customer_id=invoice.customer_id,
        noun=invoice.id,
        data={"number": number, "corrects": invoice.number},
    )
    return row


def _printed(buyer: Mapping[str, Any]) -> tuple[Any, ...]:
    """The buyer's details on a document, independent of the order in which the address is printed."""
    words = sorted(word.strip(",") for line in buyer.get("lines") or [] for word in line.split())
    return (*(buyer.get(name) or None for name in ("name", "business_name", "email", "country", "tax_id")), words)
