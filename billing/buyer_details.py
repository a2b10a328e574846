"""Which address, company and tax number a purchase is made out to, and which of them the customer's row keeps.

An address is one value. It is replaced whole and never merged part by part: a house number in London does not belong to a
postal code in Nevada. Company and tax number are one value as well. What a purchase was made out to becomes the customer's
own when it is paid. A payment link that nobody pays changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from billing import finding  # noqa: F401 - customers are found by their company, so its words are written with it
from billing.parties import Customer
from billing.payments import Payment

ADDRESS_PARTS = ("street", "city", "state", "zipcode", "country")


@dataclass(frozen=True)
class BuyerDetails:
    address: dict[str, Any]
    business_name: str | None
    tax_id: str | None

    def stored(self) -> dict[str, Any]:
        """As a payment keeps it in `billing`."""
        return {**self.address, "business_name": self.business_name, "tax_id": self.tax_id}


def whole_address(address: Mapping[str, Any] | None) -> dict[str, Any]:
    """The parts of an address that say something; empty where none was given."""
    return {part: address[part] for part in ADDRESS_PARTS if address.get(part)} if address else {}


def is_within(sent: Mapping[str, Any], own: Mapping[str, Any]) -> bool:
    """Whether `sent` is a country alone, and the address on file is in it: then it says nothing new."""
    return set(sent) == {"country"} and (own.get("country") or "").upper() == str(sent["country"]).upper()


def kept_when_paid(address: Mapping[str, Any] | None, business_name: str | None, tax_id: str | None) -> dict[str, Any]:
    """For `Payment.intent`: what was sent with this purchase, to be kept once it is paid. Empty where nothing was sent."""
    sent = {"address": whole_address(address), "business_name": business_name, "tax_id": tax_id}
    return {"customer_details": sent} if any(sent.values()) else {}


def keep_details(customer: Customer, payment: Payment) -> None:
    """A purchase succeeded: its address replaces the customer's; company and tax number fill in what the customer's row lacks."""
    sent = (payment.intent or {}).get("customer_details")
    if not sent:
        return
    if sent["address"] and not is_within(sent["address"], customer.billing or {}):
        customer.billing = dict(sent["address"])
    if sent["tax_id"] and not customer.tax_id and not customer.business_name:
        customer.business_name, customer.tax_id = sent["business_name"], sent["tax_id"]
