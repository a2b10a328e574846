"""Preview of a plan change (reference §2.3): the lines of what is charged now, their sum, and the subscription afterwards."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from billing.catalogue import Product
from billing.commands.plan_order import Foreseen
from billing.discounts import cycles_left
from billing.parties import Customer
from billing.pricing import ITEM, UNUSED
from billing.quotes import Quote
from tenants.api.shapes import Json, Shape, Stamp
from tenants.api.shapes.discounts import details, ids_of
from tenants.api.shapes.subscriptions import SubscriptionShape, meter_shape


class Charge(Shape):
    effective_at: Stamp
    line_items: list[Json]
    summary: Json


class PreviewShape(Shape):
    immediate_charge: Charge
    new_plan: SubscriptionShape

    @classmethod
    def of(cls, seen: Foreseen, customer: Customer, product: Product) -> PreviewShape:
        quote, row = seen.quote, seen.subscription
        waits = quote.effective_at == "next_billing_date"
        effective: datetime = quote.next_billing_at if waits else quote.as_of
        charge = Charge(effective_at=effective, line_items=_lines(seen, product), summary=_summary(quote))
        after: dict[str, Any] = SubscriptionShape.of(row, customer, product.name).model_dump() | {
            "addons": [{"addon_id": one["addon_id"], "quantity": one["quantity"]} for one in seen.wanted.addons],
            "meters": [meter_shape(one, quote.currency) for one in product.meters or []], "next_billing_date": quote.next_billing_at,
            "payment_frequency_count": product.interval_count,
            "payment_frequency_interval": product.interval or row.interval, "product_id": product.id, "product_name": product.name,
            "discounts": [one.model_dump() for one in details(quote.discounts, row.business_id, row.period_n)],
            "discount_id": ids_of(quote.discounts)["discount_id"],
            "discount_cycles_remaining": cycles_left(quote.discounts[0], row.period_n) if quote.discounts else None,
            "quantity": quote.quantity, "recurring_pre_tax_amount": seen.wanted.price_minor, "scheduled_change": None,
            "tax_inclusive": product.tax_inclusive,
        }  # fmt: skip
        if quote.restarts:
            after["previous_billing_date"] = quote.as_of
        return cls(immediate_charge=charge, new_plan=SubscriptionShape.model_validate(after))


def _lines(seen: Foreseen, product: Product) -> list[Json]:
    """The new plan and its add-ons; then, as negative lines with the tax they were paid with, what was paid for the old one and is not
    used. What of that is kept as credit has no tax: it lowers the tax of the charge that it pays for.

    The lines, tax included, and `customer_credits` add up to `total_amount`.
    """
    quote, lines = seen.quote, []
    addons = list(seen.wanted.addons)
    for place, one in enumerate(line for line in quote.lines if line.get("kind", ITEM) == ITEM):
        whole = one["quantity"] * one["unit_minor"]
        billed = one["net_minor"] + (one["tax_minor"] if product.tax_inclusive else 0)
        common: Json = {
            "id": f"{quote.id}_{place}", "currency": quote.currency, "quantity": one["quantity"], "unit_price": one["unit_minor"],
            "proration_factor": round(billed / whole, 6) if whole else 1.0, "tax_inclusive": product.tax_inclusive,
            "tax": one["tax_minor"], "tax_rate": one["tax_bps"] / 100, "name": one["description"], "description": None,
        }  # fmt: skip
        if one.get("product_id"):
            lines.append({"type": "subscription", "product_id": one["product_id"], **common})
        else:
            addon = addons[place - 1]
            lines.append({"type": "addon", **common, "id": addon["addon_id"], "tax_category": product.tax_category})
    credited = [(one["net_minor"] + one["tax_minor"], one["tax_minor"], one["tax_bps"] / 100)
                for one in quote.lines if one.get("kind") == UNUSED]
    kept = quote.unused_minor + sum(gross for gross, _, _ in credited)
    for place, (gross, tax, rate) in enumerate([*credited, (-kept, None, None)] if kept else credited):
        lines.append({
            "type": "subscription", "id": f"{quote.id}_unused{place or ''}", "currency": quote.currency,
            "product_id": seen.subscription.product_id, "proration_factor": 1.0, "quantity": 1, "tax_inclusive": True, "unit_price": gross,
            "name": "Unused time", "description": None, "tax": tax, "tax_rate": rate,
        })  # fmt: skip
    return lines


def _summary(quote: Quote) -> Json:
    """`customer_credits`: how the subscription's credit moves; negative where it pays, positive where some is added."""
    tax = min(quote.tax, quote.due_minor)
    return {
        "currency": quote.currency, "customer_credits": quote.credit_minor - quote.balance_minor,
        "customer_credits_currency": quote.currency, "settlement_amount": quote.due_minor, "settlement_currency": quote.currency,
        "total_amount": quote.due_minor, "settlement_tax": tax, "tax": tax,
    }  # fmt: skip
