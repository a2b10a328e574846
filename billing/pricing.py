"""What a thing costs: lines with net, tax and gross. The function that shows an amount is the one that charges it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from billing.catalogue import Product
from billing.parties import Business
from billing.subscriptions import Subscription
from core.money import tax_on, tax_within


@dataclass(frozen=True)
class Line:
    """Amounts in minor units of the invoice's currency; `tax_bps` 2000 = 20 %."""

    description: str
    quantity: int
    unit_minor: int
    net_minor: int
    tax_minor: int
    tax_bps: int
    product_id: str | None = None
    starts_at: datetime | None = None
    ends_at: datetime | None = None

    @property
    def gross_minor(self) -> int:
        return self.net_minor + self.tax_minor


def tax_rate(business: Business, country: str | None) -> int:
    """Basis points for a buyer's country; '*' is the rate where none is named."""
    rates = business.tax_rates or {}
    return int(rates.get(country or "", rates.get("*", 0)))


def line(description: str, quantity: int, unit_minor: int, bps: int, inclusive: bool, product_id: str | None = None) -> Line:
    amount = quantity * unit_minor
    if inclusive:
        tax = tax_within(amount, bps)
        return Line(description, quantity, unit_minor, amount - tax, tax, bps, product_id)
    return Line(description, quantity, unit_minor, amount, tax_on(amount, bps), bps, product_id)


def for_period(
    business: Business, subscription: Subscription, product: Product, starts_at: datetime, ends_at: datetime
) -> list[Line]:
    """The lines of one full period of a subscription at the price agreed."""
    bps = tax_rate(business, (subscription.billing or {}).get("country"))
    lines = [line(product.name, subscription.quantity, subscription.unit_minor, bps, subscription.tax_inclusive, product.id)]
    for addon in subscription.addons:
        lines.append(line(addon["name"], addon["quantity"], addon["unit_minor"], bps, subscription.tax_inclusive))
    return [replace(one, starts_at=starts_at, ends_at=ends_at) for one in lines]


def for_cart(business: Business, items: Iterable[tuple[Product, int]], country: str | None) -> list[Line]:
    bps = tax_rate(business, country)
    return [line(product.name, quantity, product.price_minor, bps, product.tax_inclusive, product.id) for product, quantity in items]


def recurring_net(business: Business, subscription: Subscription, product: Product) -> int:
    """`recurring_pre_tax_amount` of the contract."""
    now = subscription.next_billing_at or subscription.created_at
    return sum(one.net_minor for one in for_period(business, subscription, product, now, now))


def total(lines: Iterable[Line]) -> int:
    return sum(one.gross_minor for one in lines)
