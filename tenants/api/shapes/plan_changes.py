"""Preview of a plan change (reference §2.3): the line items and total charged now, and the subscription after the change."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from billing.model.catalogue import Product
from billing.model.discounts import cycles_left
from billing.model.parties import Customer
from billing.model.quotes import Quote
from billing.plan_changes.business_order import PlanChangePreview
from billing.pricing.prices import ITEM, UNUSED
from tenants.api.shapes import Json, Shape, Stamp
from tenants.api.shapes.discounts import discount_details, discount_ids
from tenants.api.shapes.subscriptions import SubscriptionShape, meter_shape


class ImmediateCharge(Shape):
    effective_at: Stamp
    line_items: list[Json]
    summary: Json


class PreviewShape(Shape):
    immediate_charge: ImmediateCharge
    new_plan: SubscriptionShape

    @classmethod
    def of(cls, seen: PlanChangePreview, customer: Customer, product: Product) -> PreviewShape:
        quote, row = seen.quote, seen.subscription
        waits = quote.effective_at == "next_billing_date"
        effective: datetime = quote.next_billing_at if waits else quote.as_of
        charge = ImmediateCharge(effective_at=effective, line_items=_lines(seen, product), summary=_summary(quote))
        after: dict[str, Any] = SubscriptionShape.of(row, customer, product.name).model_dump() | {
            "addons": [{"addon_id": addon["addon_id"], "quantity": addon["quantity"]} for addon in seen.wanted.addons],
            "meters": [meter_shape(meter, quote.currency) for meter in product.meters or []], "next_billing_date": quote.next_billing_at,
            "payment_frequency_count": product.interval_count,
            "payment_frequency_interval": product.interval or row.interval, "product_id": product.id, "product_name": product.name,
            "discounts": [detail.model_dump() for detail in discount_details(quote.discounts, row.business_id, row.period_n)],
            "discount_id": discount_ids(quote.discounts)["discount_id"],
            "discount_cycles_remaining": cycles_left(quote.discounts[0], row.period_n) if quote.discounts else None,
            "quantity": quote.quantity, "recurring_pre_tax_amount": seen.wanted.price_minor, "scheduled_change": None,
            "tax_inclusive": product.tax_inclusive,
        }  # fmt: skip
        if quote.restarts:
            after["previous_billing_date"] = quote.as_of
        return cls(immediate_charge=charge, new_plan=SubscriptionShape.model_validate(after))


def _lines(seen: PlanChangePreview, product: Product) -> list[Json]:
    """Return the line items: the new plan and its add-ons, then the unused time of the old plan as negative lines.

    Unused time has the tax that was paid for it. The part that becomes credit has no tax: it lowers the tax of the charge it pays for.
    The lines, tax included, and `customer_credits` add up to `total_amount`.
    """
    quote, lines = seen.quote, []
    addons = list(seen.wanted.addons)
    for place, item in enumerate(line for line in quote.lines if line.get("kind", ITEM) == ITEM):
        whole = item["quantity"] * item["unit_minor"]
        billed = item["net_minor"] + (item["tax_minor"] if product.tax_inclusive else 0)
        common: Json = {
            "id": f"{quote.id}_{place}", "currency": quote.currency, "quantity": item["quantity"], "unit_price": item["unit_minor"],
            "proration_factor": round(billed / whole, 6) if whole else 1.0, "tax_inclusive": product.tax_inclusive,
            "tax": item["tax_minor"], "tax_rate": item["tax_bps"] / 100, "name": item["description"], "description": None,
        }  # fmt: skip
        if item.get("product_id"):
            lines.append({"type": "subscription", "product_id": item["product_id"], **common})
        else:
            addon = addons[place - 1]
            lines.append({"type": "addon", **common, "id": addon["addon_id"], "tax_category": product.tax_category})
    credited = [
        (item["net_minor"] + item["tax_minor"], item["tax_minor"], item["tax_bps"] / 100)
        for item in quote.lines
        if item.get("kind") == UNUSED
    ]
    kept = quote.unused_minor + sum(gross for gross, _, _ in credited)
    for place, (gross, tax, rate) in enumerate([*credited, (-kept, None, None)] if kept else credited):
        lines.append({
            "type": "subscription", "id": f"{quote.id}_unused{place or ''}", "currency": quote.currency,
            "product_id": seen.subscription.product_id, "proration_factor": 1.0, "quantity": 1, "tax_inclusive": True, "unit_price": gross,
            "name": "Unused time", "description": None, "tax": tax, "tax_rate": rate,
        })  # fmt: skip
    return lines


def _summary(quote: Quote) -> Json:
    """Return the totals. `customer_credits` is the change of the subscription's credit: negative if used, positive if added."""
    tax = min(quote.tax, quote.due_minor)
    return {
        "currency": quote.currency, "customer_credits": quote.credit_minor - quote.balance_minor,
        "customer_credits_currency": quote.currency, "settlement_amount": quote.due_minor, "settlement_currency": quote.currency,
        "total_amount": quote.due_minor, "settlement_tax": tax, "tax": tax,
    }  # fmt: skip
