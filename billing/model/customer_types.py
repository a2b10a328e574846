"""Whether a customer buys as a consumer or as a business. Rights of consumers, notices and withdrawal depend on it."""

from __future__ import annotations

from typing import Literal, Protocol

from billing.model.payments import Payment
from billing.model.subscriptions import Subscription

CustomerType = Literal["consumer", "business"]
TYPES: tuple[CustomerType, ...] = ("consumer", "business")


class _Buyer(Protocol):
    customer_type: str | None
    customer_type_by: str | None
    tax_id: str | None


class ConcludedContract(Protocol):
    @property
    def customer_type(self) -> str | None: ...
    @property
    def tax_id(self) -> str | None: ...


def customer_type_of(customer: _Buyer) -> CustomerType:
    """Return the type that counts for a contract concluded now. Without any statement the customer is a consumer."""
    return type_for_purchase(customer, customer.tax_id)


def type_for_purchase(customer: _Buyer, tax_id: str | None) -> CustomerType:
    """Return the type of a purchase for which a tax number counts, or none.

    What customers say about themselves counts first, then a valid tax number, then what the business says. A business can therefore not
    take rights away from somebody who said that they are a consumer.
    """
    if customer.customer_type_by == "customer":
        return "business" if customer.customer_type == "business" else "consumer"
    return "business" if tax_id or customer.customer_type == "business" else "consumer"


def type_of_contract(contract: ConcludedContract) -> CustomerType:
    """Return the type of the customer when a subscription was concluded. Of older and imported ones it is unknown: the tax number tells."""
    if contract.customer_type in TYPES:
        return "business" if contract.customer_type == "business" else "consumer"
    return "business" if contract.tax_id else "consumer"


def concluded_type(contract: Subscription | Payment, customer: _Buyer) -> CustomerType:
    """Return the type at the time when a subscription or a purchase was concluded. Older rows have none; today's counts for them."""
    if contract.customer_type in TYPES:
        return "business" if contract.customer_type == "business" else "consumer"
    return customer_type_of(customer)
