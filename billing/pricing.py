"""What a thing costs: lines with net, tax and gross. The function that shows an amount is the one that charges it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from billing.catalogue import Product
from billing.discounts import fits, is_on, taken_off, words
from billing.parties import Business
from billing.subscriptions import Subscription
from core.money import tax_on, tax_within


@dataclass(frozen=True)
class Line:
    """Amounts in minor units of the invoice's currency; `tax_bps` 2000 = 20 %. `off`: (words, minor units with tax), what each discount
    took from it: taken off already."""

    description: str
    quantity: int
    unit_minor: int
    net_minor: int
    tax_minor: int
    tax_bps: int
    product_id: str | None = None
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    off: tuple[tuple[str, int], ...] = ()

    @property
    def gross_minor(self) -> int:
        return self.net_minor + self.tax_minor


def tax_rate(business: Business, country: str | None) -> int:
    """Basis points for a buyer's country; '*' is the rate where none is named."""
    rates = business.tax_rates or {}
    return int(rates.get(country or "", rates.get("*", 0)))


def rate_of(business: Business, billing: dict[str, Any] | None) -> int:
    """Of a subscription, by its buyer's address. What another system collects carries the rate that it took last (`tax_bps`)."""
    one = billing or {}
    return int(one["tax_bps"]) if "tax_bps" in one else tax_rate(business, one.get("country"))


def line(
    description: str, quantity: int, unit_minor: int, bps: int, inclusive: bool, product_id: str | None = None, off_minor: int = 0
) -> Line:
    """`off_minor`: what discounts take off, before tax is reckoned."""
    amount = quantity * unit_minor - off_minor
    if inclusive:
        tax = tax_within(amount, bps)
        return Line(description, quantity, unit_minor, amount - tax, tax, bps, product_id)
    return Line(description, quantity, unit_minor, amount, tax_on(amount, bps), bps, product_id)


def for_period(
    business: Business, subscription: Subscription, product: Product, starts_at: datetime, ends_at: datetime, n: int | None = None
) -> list[Line]:
    """The lines of one full period of a subscription at the price agreed. `n`: which one; the next that is billed, unless given."""
    n = (subscription.period_n or 0) + 1 if n is None else n
    lines = for_plan(business, subscription.billing, product, subscription.quantity, subscription.unit_minor, subscription.addons,
                     subscription.tax_inclusive, [one for one in subscription.discounts or [] if is_on(one, n)])
    return [replace(one, starts_at=starts_at, ends_at=ends_at) for one in lines]


def for_plan(
    business: Business, billing: dict[str, Any] | None, product: Product, quantity: int, unit_minor: int, addons: Sequence[dict[str, Any]],
    inclusive: bool, held: Sequence[dict[str, Any]] = (),
) -> list[Line]:
    """A plan with its add-ons, less the discounts that are `held`."""
    bps = rate_of(business, billing)
    items = [(product.name, quantity, unit_minor, product.id), *((one["name"], one["quantity"], one["unit_minor"], None) for one in addons)]
    return _less(items, [product.id] * len(items), bps, [inclusive] * len(items), held)


def for_cart(
    business: Business, items: Iterable[tuple[Product, int]], country: str | None, held: Sequence[dict[str, Any]] = ()
) -> list[Line]:
    bps, bought = tax_rate(business, country), list(items)
    rows = [(product.name, quantity, product.price_minor, product.id) for product, quantity in bought]
    return _less(rows, [product.id for product, _ in bought], bps, [product.tax_inclusive for product, _ in bought], held)


def _less(
    items: Sequence[tuple[str, int, int, str | None]], of: Sequence[str], bps: int, inclusive: Sequence[bool],
    held: Sequence[dict[str, Any]],
) -> list[Line]:
    """`of`: the product by which a discount is for an item or not. What is taken off is said in the line's words."""
    amounts = [quantity * unit for _, quantity, unit, _ in items]
    off = [taken_off(amounts, of, held[:count]) for count in range(len(held) + 1)]  # by none of them, by the first, the first two, …
    out = []
    for place, (name, quantity, unit, product_id) in enumerate(items):
        codes = ", ".join(words(held_one) for held_one in held if fits(held_one, of[place])) if off[-1][place] else ""
        said = f"{name} ({codes})" if codes else name
        steps = [line(said, quantity, unit, bps, inclusive[place], product_id, less[place]) for less in off]
        gave = [(words(one), was.gross_minor - now.gross_minor) for one, was, now in zip(held, steps, steps[1:], strict=False)]
        out.append(replace(steps[-1], off=tuple(one for one in gave if one[1])))
    return out


def recurring_net(business: Business, subscription: Subscription, product: Product) -> int:
    """`recurring_pre_tax_amount` of the contract."""
    now = subscription.next_billing_at or subscription.created_at
    return sum(one.net_minor for one in for_period(business, subscription, product, now, now))


def total(lines: Iterable[Line]) -> int:
    return sum(one.gross_minor for one in lines)
