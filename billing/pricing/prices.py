"""Calculates prices as lines with net, tax and gross. The same functions calculate shown and charged amounts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from billing.model.catalogue import Product
from billing.model.discounts import discount_amounts, discount_label, fits, is_on
from billing.pricing import taxes
from billing.pricing.tax_rounding import share_tax
from billing.pricing.tax_setup import hosted_account
from billing.pricing.taxes import Treatment
from billing.pricing.terms import AgreedPlan, Seller, SoldProduct
from core.money import tax_on, tax_within

INVALID = "invalid"
"""The value of `tax_id_check` in a buyer's address, after VIES answered that the tax number is not valid."""
ITEM, UNUSED, CREDIT = "item", "unused", "credit"
"""Kinds of lines: a sold item, unused time of an earlier plan, credit from earlier. Lines of the last two kinds are negative."""


@dataclass(frozen=True)
class PriceLine:
    """One line of a document, in minor units of its currency. `tax_bps` 2000 = 20 %.

    `off` has (label, minor units with tax) for each discount; the amounts of the line are after these discounts. `inclusive`: the sum of
    net and tax was promised to the customer. `unit_minor` is the price per unit as it is sold, with tax if `inclusive`. `tax_code`,
    `tax_reason`, `tax_case`: see billing/pricing/taxes.py, None on old lines. `tax_rate`: the exact percentage, if bps cannot give it.
    """

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
    tax_case: str | None = None
    tax_rate: str | None = None

    @property
    def gross_minor(self) -> int:
        return self.net_minor + self.tax_minor


def rate_of(
    business: Seller, billing: dict[str, Any] | None, tax_id: str | None = None, category: str | None = None, at: datetime | None = None
) -> Treatment:
    """Return the tax treatment of a subscription, by its buyer's address and VAT ID. `at`: the tax point, None for now.

    A subscription that another system collects has the rate of its latest charge there (`tax_bps`). A VAT ID that VIES does not know
    (`tax_id_check`) changes nothing: its holder is taxed like a consumer. Where Stripe Tax decides, it is its latest treatment.
    """
    address = billing or {}
    if "tax_bps" in address:
        return taxes.parse(address["tax_bps"])
    if hosted_account(business) is not None:
        return taxes.calculated(address)
    number = None if address.get("tax_id_check") == INVALID else tax_id
    return taxes.treatment(business, address.get("country"), number, category, region=address.get("state"), at=at)


def line(
    description: str,
    quantity: int,
    unit_minor: int,
    tax: Treatment | int,
    inclusive: bool,
    *,
    product_id: str | None = None,
    off_minor: int = 0,
) -> PriceLine:
    """Return a single line. `billing.pricing.tax_rounding.share_tax` combines lines to a document.

    `off_minor` is the discount, which is subtracted before the tax is calculated. `tax` is a treatment, or a rate in basis points.
    """
    rate = taxes.parse(tax) if isinstance(tax, int) else tax
    amount = quantity * unit_minor - off_minor
    within = tax_within(amount, rate.bps) if inclusive else 0
    return PriceLine(
        description,
        quantity,
        unit_minor,
        amount - within,
        within if inclusive else tax_on(amount, rate.bps),
        rate.bps,
        product_id,
        inclusive=inclusive,
        tax_code=rate.code,
        tax_reason=rate.reason,
        tax_case=rate.case,
        tax_rate=rate.exact,
    )


def for_period(
    business: Seller, subscription: AgreedPlan, product: SoldProduct, starts_at: datetime, ends_at: datetime, n: int | None = None
) -> list[PriceLine]:
    """Return the lines of the n-th period of a subscription at the agreed price. `n` None: the next period that is billed.

    The tax point is the start of the period, also where a tax rate changes during it: a period is paid in advance, so the tax is due with
    the payment (Directive 2006/112/EC, art. 65).
    """
    n = (subscription.period_n or 0) + 1 if n is None else n
    discounts = [discount for discount in subscription.discounts or [] if is_on(discount, n)]
    lines = at_agreed_price(business, subscription, product, discounts, at=starts_at)
    return [replace(line, starts_at=starts_at, ends_at=ends_at) for line in lines]


def at_agreed_price(
    business: Seller,
    subscription: AgreedPlan,
    product: SoldProduct,
    discounts: Sequence[dict[str, Any]] = (),
    *,
    at: datetime | None = None,
) -> list[PriceLine]:
    """Return the lines of one period of a subscription at the agreed price, after these discounts. `at`: the tax point."""
    return for_plan(
        business,
        product,
        billing=subscription.billing,
        tax_id=subscription.tax_id,
        quantity=subscription.quantity,
        unit_minor=subscription.unit_minor,
        addons=subscription.addons,
        inclusive=subscription.tax_inclusive,
        discounts=discounts,
        at=at,
    )


def for_plan(
    business: Seller,
    product: SoldProduct,
    *,
    billing: dict[str, Any] | None,
    tax_id: str | None = None,
    quantity: int,
    unit_minor: int,
    addons: Sequence[dict[str, Any]],
    inclusive: bool,
    discounts: Sequence[dict[str, Any]] = (),
    at: datetime | None = None,
) -> list[PriceLine]:
    """Return the lines of a plan with its add-ons after the discounts. Add-ons are taxed like their plan. `at`: the tax point."""
    tax = rate_of(business, billing, tax_id, product.tax_category, at)
    items = [
        (product.name, quantity, unit_minor, product.id),
        *((addon["name"], addon["quantity"], addon["unit_minor"], None) for addon in addons),
    ]
    item_ids = [product.id, *(addon.get("addon_id", "") for addon in addons)]
    return _discounted(items, [product.id] * len(items), [tax] * len(items), [inclusive] * len(items), discounts, item_ids)


def for_cart(
    business: Seller,
    items: Iterable[tuple[Product, int]],
    billing: dict[str, Any],
    discounts: Sequence[dict[str, Any]] = (),
    tax_id: str | None = None,
) -> list[PriceLine]:
    """Return the lines of a purchase that is made out to the address `billing`. The tax point is now."""
    bought = list(items)
    each = [rate_of(business, billing, tax_id, product.tax_category) for product, _ in bought]
    rows = [(product.name, quantity, product.price_minor, product.id) for product, quantity in bought]
    return _discounted(rows, [product.id for product, _ in bought], each, [bool(product.tax_inclusive) for product, _ in bought], discounts)


def _discounted(
    items: Sequence[tuple[str, int, int, str | None]],
    product_ids: Sequence[str],
    tax: Sequence[Treatment],
    inclusive: Sequence[bool],
    discounts: Sequence[dict[str, Any]],
    item_ids: Sequence[str] = (),
) -> list[PriceLine]:
    """Return the items as lines after the discounts, with the codes in their descriptions. `item_ids`: plan and add-ons."""
    amounts = [quantity * unit for _, quantity, unit, _ in items]
    # with none of the discounts, with the first, with the first two, …
    off = [discount_amounts(amounts, product_ids, discounts[:count], item_ids) for count in range(len(discounts) + 1)]
    out = []
    for place, (name, quantity, unit, product_id) in enumerate(items):
        ids = product_ids[place], item_ids[place] if item_ids else ""
        applied = [discount for discount in discounts if off[-1][place] and fits(discount, *ids)]
        codes = ", ".join(discount_label(discount) for discount in applied)
        description = f"{name} ({codes})" if codes else name
        steps = [
            line(description, quantity, unit, tax[place], inclusive[place], product_id=product_id, off_minor=amounts_off[place])
            for amounts_off in off
        ]
        deducted = [
            (discount_label(discount), before.gross_minor - after.gross_minor)
            for discount, before, after in zip(discounts, steps, steps[1:], strict=False)
        ]
        out.append(replace(steps[-1], off=tuple(entry for entry in deducted if entry[1])))
    return share_tax(out)


def line_label(kind: str, description: str) -> str:
    return f"Unused time on {description}" if kind == UNUSED else "Credit from earlier" if kind == CREDIT else description


@dataclass(frozen=True)
class TaxRow:
    """The net amount and tax of one rate on a document."""

    code: str | None
    bps: int
    reason: str | None
    net_minor: int
    tax_minor: int
    rate: str | None = None


def tax_rows(lines: Iterable[PriceLine]) -> list[TaxRow]:
    rates: dict[tuple[str, int, str, str], list[int]] = {}
    for line in lines:
        sums = rates.setdefault((line.tax_code or "", line.tax_bps, line.tax_reason or "", line.tax_rate or ""), [0, 0])
        sums[0] += line.net_minor
        sums[1] += line.tax_minor
    return [
        TaxRow(code or None, bps, reason or None, net, tax, rate or None) for (code, bps, reason, rate), (net, tax) in sorted(rates.items())
    ]


def recurring_net(business: Seller, subscription: AgreedPlan, product: SoldProduct) -> int:
    """Return `recurring_pre_tax_amount` of the contract."""
    now = subscription.next_billing_at or subscription.created_at
    return sum(item.net_minor for item in for_period(business, subscription, product, now, now))


def period_price(business: Seller, subscription: AgreedPlan, product: SoldProduct) -> int:
    """Return the price of one period, tax included, which customers and staff are shown."""
    now = subscription.next_billing_at or subscription.created_at
    return total(for_period(business, subscription, product, now, now))


def total(lines: Iterable[PriceLine]) -> int:
    return sum(line.gross_minor for line in lines)
