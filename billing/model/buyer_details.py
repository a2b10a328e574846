"""Chooses the address, company and tax ID of a purchase, and copies them to the customer when the purchase is paid.

An address is replaced as a whole and never merged part by part, because the result could be an address that does not exist. Company and
tax ID are replaced together as well. A payment link that nobody pays changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from billing.model import customer_search  # noqa: F401 - registers the listeners that update the search words when the company changes
from billing.model.parties import Customer
from billing.model.payments import Payment

ADDRESS_PARTS = ("street", "city", "state", "zipcode", "country")


@dataclass(frozen=True)
class BuyerDetails:
    address: dict[str, Any]
    business_name: str | None
    tax_id: str | None

    def stored(self) -> dict[str, Any]:
        """Return the details in the form of `Payment.billing`."""
        return {**self.address, "business_name": self.business_name, "tax_id": self.tax_id}


def whole_address(address: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the non-empty parts of an address; empty if there is no address."""
    return {part: address[part] for part in ADDRESS_PARTS if address.get(part)} if address else {}


def is_within(sent: Mapping[str, Any], own: Mapping[str, Any]) -> bool:
    """Return whether `sent` is only a country, and the `own` address is in that country. Then it adds nothing."""
    return set(sent) == {"country"} and (own.get("country") or "").upper() == str(sent["country"]).upper()


def kept_when_paid(address: Mapping[str, Any] | None, business_name: str | None, tax_id: str | None) -> dict[str, Any]:
    """Return the details sent with a purchase, for `Payment.intent`, to be copied once it is paid. Empty if none were sent."""
    sent = {"address": whole_address(address), "business_name": business_name, "tax_id": tax_id}
    return {"customer_details": sent} if any(sent.values()) else {}


def keep_details(customer: Customer, payment: Payment) -> None:
    """Copy the details of a paid purchase to the customer.

    The address replaces the customer's. Company and tax ID are copied only if the customer has neither.
    """
    sent = (payment.intent or {}).get("customer_details")
    if not sent:
        return
    if sent["address"] and not is_within(sent["address"], customer.billing or {}):
        customer.billing = dict(sent["address"])
    if sent["tax_id"] and not customer.tax_id and not customer.business_name:
        customer.business_name, customer.tax_id = sent["business_name"], sent["tax_id"]
