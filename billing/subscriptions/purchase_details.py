"""Choose the billing details of a purchase: those sent with it, or else those of the customer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from billing.model.buyer_details import BuyerDetails, is_within, whole_address
from billing.model.customer_types import CustomerType, type_for_purchase
from billing.model.parties import Customer
from billing.subscriptions.billing_details import check_tax_id
from billing.subscriptions.tax_id_checks import is_marked_invalid, marked, request_check
from core.db import ScopedSession
from core.errors import N_, Invalid


def details_for_purchase(
    customer: Customer, address: Mapping[str, Any] | None, business_name: str | None, tax_id: str | None
) -> BuyerDetails:
    """Take the address and the company each as a whole, either as sent or from the customer.

    A country alone that equals the customer's country means the customer's address. The customer's tax number is used only for
    an address in the customer's country, because a tax number is valid in the country that issued it. The company name stays
    on the invoice in any case; missing details can be added later. Raises Invalid (tax_id) for an invalid number that was sent.
    """
    own = customer.billing or {}
    sent = whole_address(address)
    chosen = sent if sent and not is_within(sent, own) else dict(own)
    country = (chosen.get("country") or "").upper()
    if business_name and not tax_id:
        raise Invalid("INVALID_TAX_ID", fields={"tax_id": N_("Enter the company's tax number.")})
    if tax_id:
        return BuyerDetails(chosen, business_name, check_tax_id(tax_id, country))
    if customer.tax_id and (own.get("country") or country) == country:
        try:
            return BuyerDetails(chosen, customer.business_name, check_tax_id(customer.tax_id, country))
        except Invalid:  # it was saved before the country was known
            pass
    return BuyerDetails(chosen, customer.business_name, None)


def checked_details(db: ScopedSession, customer: Customer, details: BuyerDetails) -> BuyerDetails:
    """Queue the check of the tax number, and mark the address if an earlier check found that the number is not valid."""
    status = request_check(db, customer.business_id, customer.customer_id, details.tax_id, details.address.get("country"))
    return replace(details, address=marked(details.address, status))


def customer_type_for(customer: Customer, details: BuyerDetails) -> CustomerType:
    """Return whether a consumer or a business buys. A tax number that VIES does not know makes nobody a business."""
    return type_for_purchase(customer, None if is_marked_invalid(details.address) else details.tax_id)
