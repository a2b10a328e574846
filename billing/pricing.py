"""What a thing costs: lines with net, tax and gross. The function that shows an amount is the one that charges it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from billing import taxes
from billing.catalogue import Product
from billing.discounts import fits, is_on, taken_off, words
from billing.parties import Business
from billing.subscriptions import Subscription
from billing.tax_rounding import share_tax
from billing.taxes import Treatment
from core.money import tax_on, tax_within

ITEM, UNUSED, CREDIT = "item", "unused", "credit"
"""Kinds of line: what is sold; what of an earlier plan was paid and not used; credit from earlier. The last two are negative."""


@dataclass(frozen=True)
class Line:
    """Amounts in minor units of the invoice's currency; `tax_bps` 2000 = 20 %. `off`: (words, minor units with tax), what each discount
    took from it: taken off already. `inclusive`: net + tax is what was promised. `tax_code`, `tax_reason`: see billing/taxes.py; an
    empty code is of a time when none was kept. `unit_minor` is the price of one as it is sold, with tax where it is `inclusive`."""

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
    inclusive: bool = False
    tax_code: str | None = None
    tax_reason: str | None = None
    kind: str = ITEM

    @property
    def words(self) -> str:
        """What the line is for; of a line of credit, `description` is the name of the plan alone, or nothing."""
        return line_words(self.kind, self.description)

    @property
    def gross_minor(self) -> int:
        return self.net_minor + self.tax_minor


def rate_of(business: Business, billing: dict[str, Any] | None, tax_id: str | None = None, category: str | None = None) -> Treatment:
    """Of a subscription, by its buyer's address and VAT id. What another system collects carries the rate that it took last (`tax_bps`)."""
    one = billing or {}
    if "tax_bps" in one:
        return taxes.parse(one["tax_bps"])
    return taxes.treatment(business, one.get("country"), tax_id, category)


def line(
    description: str, quantity: int, unit_minor: int, tax: Treatment | int, inclusive: bool, product_id: str | None = None,
    off_minor: int = 0,
) -> Line:
    """One line by itself; `billing.tax_rounding.share_tax` makes a document of several. `off_minor`: what discounts take off, before
    tax is reckoned. `tax`: a treatment, or the basis points of a rate."""
    rate = taxes.parse(tax) if isinstance(tax, int) else tax
    amount = quantity * unit_minor - off_minor
    within = tax_within(amount, rate.bps) if inclusive else 0
    return Line(
        description, quantity, unit_minor, amount - within, within if inclusive else tax_on(amount, rate.bps), rate.bps, product_id,
        inclusive=inclusive, tax_code=rate.code, tax_reason=rate.reason,
    )


def for_period(
    business: Business, subscription: Subscription, product: Product, starts_at: datetime, ends_at: datetime, n: int | None = None
) -> list[Line]:
    """The lines of one full period of a subscription at the price agreed. `n`: which one; the next that is billed, unless given."""
    n = (subscription.period_n or 0) + 1 if n is None else n
    lines = for_plan(business, subscription.billing, product, subscription.quantity, subscription.unit_minor, subscription.addons,
                     subscription.tax_inclusive, [one for one in subscription.discounts or [] if is_on(one, n)], subscription.tax_id)
    return [replace(one, starts_at=starts_at, ends_at=ends_at) for one in lines]


def for_plan(
    business: Business, billing: dict[str, Any] | None, product: Product, quantity: int, unit_minor: int, addons: Sequence[dict[str, Any]],
    inclusive: bool, held: Sequence[dict[str, Any]] = (), tax_id: str | None = None,
) -> list[Line]:
    """A plan with its add-ons, less the discounts that are `held`. Add-ons are taxed as their plan is."""
    tax = rate_of(business, billing, tax_id, getattr(product, "tax_category", None))
    items = [(product.name, quantity, unit_minor, product.id), *((one["name"], one["quantity"], one["unit_minor"], None) for one in addons)]
    return _less(items, [product.id] * len(items), [tax] * len(items), [inclusive] * len(items), held)


def for_cart(
    business: Business, items: Iterable[tuple[Product, int]], country: str | None, held: Sequence[dict[str, Any]] = (),
    tax_id: str | None = None,
) -> list[Line]:
    bought = list(items)
    each = [taxes.treatment(business, country, tax_id, product.tax_category) for product, _ in bought]
    rows = [(product.name, quantity, product.price_minor, product.id) for product, quantity in bought]
    return _less(rows, [product.id for product, _ in bought], each, [bool(product.tax_inclusive) for product, _ in bought], held)


def _less(
    items: Sequence[tuple[str, int, int, str | None]], of: Sequence[str], tax: Sequence[Treatment], inclusive: Sequence[bool],
    held: Sequence[dict[str, Any]],
) -> list[Line]:
    """`of`: the product by which a discount is for an item or not. What is taken off is said in the line's words."""
    amounts = [quantity * unit for _, quantity, unit, _ in items]
    off = [taken_off(amounts, of, held[:count]) for count in range(len(held) + 1)]  # by none of them, by the first, the first two, …
    out = []
    for place, (name, quantity, unit, product_id) in enumerate(items):
        codes = ", ".join(words(held_one) for held_one in held if fits(held_one, of[place])) if off[-1][place] else ""
        said = f"{name} ({codes})" if codes else name
        steps = [line(said, quantity, unit, tax[place], inclusive[place], product_id, less[place]) for less in off]
        gave = [(words(one), was.gross_minor - now.gross_minor) for one, was, now in zip(held, steps, steps[1:], strict=False)]
        out.append(replace(steps[-1], off=tuple(one for one in gave if one[1])))
    return share_tax(out)


def line_words(kind: str, description: str) -> str:
    return f"Unused time on {description}" if kind == UNUSED else "Credit from earlier" if kind == CREDIT else description


@dataclass(frozen=True)
class TaxRow:
    """What one rate comes to on a document."""

    code: str | None
    bps: int
    reason: str | None
    net_minor: int
    tax_minor: int


def tax_rows(lines: Iterable[Line]) -> list[TaxRow]:
    rates: dict[tuple[str, int, str], list[int]] = {}
    for one in lines:
        sums = rates.setdefault((one.tax_code or "", one.tax_bps, one.tax_reason or ""), [0, 0])
        sums[0] += one.net_minor
        sums[1] += one.tax_minor
    return [TaxRow(code or None, bps, reason or None, net, tax) for (code, bps, reason), (net, tax) in sorted(rates.items())]


def recurring_net(business: Business, subscription: Subscription, product: Product) -> int:
    """`recurring_pre_tax_amount` of the contract."""
    now = subscription.next_billing_at or subscription.created_at
    return sum(one.net_minor for one in for_period(business, subscription, product, now, now))


def period_price(business: Business, subscription: Subscription, product: Any) -> int:
    """What one period takes, tax included: the price that customers and staff are shown. `product`: its id, name and tax_category."""
    now = subscription.next_billing_at or subscription.created_at
    return total(for_period(business, subscription, product, now, now))


def total(lines: Iterable[Line]) -> int:
    return sum(one.gross_minor for one in lines)
