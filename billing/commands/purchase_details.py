"""Who a purchase is made out to: what was sent with it, or else what the customer's row has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from billing.buyer_details import BuyerDetails, is_within, whole_address
from billing.commands.billing_details import check_tax_id
from billing.parties import Customer
from core.errors import Invalid


def details_for_purchase(
    customer: Customer, address: Mapping[str, Any] | None, business_name: str | None, tax_id: str | None
) -> BuyerDetails:
    """Address and company are each taken whole, from one place. A country alone that is the customer's own stands for their own address.
    Raises Invalid (field tax_id) for a number that was sent.

    The customer's own tax number is used only for an address in the country of the customer's own address: a number belongs
    to the country that gave it.
    """
    own = customer.billing or {}
    sent = whole_address(address)
    chosen = sent if sent and not is_within(sent, own) else dict(own)
    country = (chosen.get("country") or "").upper()
    if business_name and not tax_id:
        raise Invalid("INVALID_TAX_ID", fields={"tax_id": "A company's invoice needs its tax number."})
    if tax_id:
        return BuyerDetails(chosen, business_name, check_tax_id(tax_id, country))
    if customer.tax_id and (own.get("country") or country) == country:
        try:
            return BuyerDetails(chosen, customer.business_name, check_tax_id(customer.tax_id, country))
        except Invalid:  # it was saved before the country was known
            pass
    return BuyerDetails(chosen, None, None)
