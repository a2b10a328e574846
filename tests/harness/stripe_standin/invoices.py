"""Invoices of a merchant at Stripe Billing, and their lines."""

from __future__ import annotations

from copy import deepcopy

from tests.harness.stripe_standin import discounts, intents
from tests.harness.stripe_standin.world import Account, Object

ADDRESS = {"city": "London", "country": "GB", "line1": "12 High Street", "line2": None, "postal_code": "E1 6AN", "state": None}


def line(account: Account, subscription: Object, item: Object, part: tuple[int, int] | None = None, factor: int = 1) -> Object:
    """Return a line of a whole period, or of a `part` of it (from, to): a proration, negative with the `factor` -1."""
    price, starts, ends = item["price"], item["current_period_start"], item["current_period_end"]
    share = (part[1] - part[0]) / (ends - starts) if part else 1.0
    amount = factor * round((price["unit_amount"] or 0) * item["quantity"] * share)
    starts, ends = part or (starts, ends)
    made = {
        "id": f"il_{account.private[item['id']]['number']}_{account.invoices}", "object": "line_item", "livemode": False,
        "amount": amount, "currency": price["currency"], "description": None,
        "discount_amounts": [], "discountable": True, "discounts": [], "invoice": None, "metadata": {}, "quantity": item["quantity"],
        "period": {"start": starts, "end": ends}, "pretax_credit_amounts": [],
        "parent": {"type": "subscription_item_details", "invoice_item_details": None, "subscription_item_details": {
            "invoice_item": None, "proration": part is not None, "proration_details": None, "subscription": subscription["id"],
            "subscription_item": item["id"]}},
        "pricing": {"type": "price_details", "unit_amount_decimal": price["unit_amount_decimal"],
                    "price_details": {"price": price["id"], "product": price["product"]}},
        "subscription": None, "taxes": [_tax(round(amount / 5), amount)],
    }  # fmt: skip
    made["subtotal"] = made["amount"]
    return made


def issue(account: Account, now: int, subscription: Object, reason: str, lines: list[Object]) -> Object:
    """Return an open invoice of these lines, with discounts taken off and the customer's balance set off."""
    items = subscription["items"]["data"]
    discounts.apply(account, now, subscription, items, [item for item in lines if item["amount"] > 0])
    for item in lines:
        off = sum(part["amount"] for part in item["discount_amounts"])
        if off:
            item["taxes"] = [_tax(round((item["amount"] - off) / 5), item["amount"] - off)]
    off = sum(part["amount"] for item in lines for part in item["discount_amounts"])
    net, tax = sum(item["amount"] for item in lines), sum(item["taxes"][0]["amount"] for item in lines)
    account.invoices += 1
    number, total = account.invoices, net - off + tax
    buyer = account.objects[subscription["customer"]]
    before = buyer.get("balance", 0)
    due = total + before if total + before >= intents.MINIMUM[subscription["currency"]] else 0  # less is carried over
    return account.make(
        "invoice", created=now, number=f"{account.id[-4:].upper()}-{number:04d}", customer=subscription["customer"], status="open",
        amount_due=due, amount_overpaid=0, amount_paid=0, amount_paid_off_stripe=0, amount_remaining=due, amount_shipping=0,
        attempt_count=0, attempted=False, auto_advance=True, collection_method="charge_automatically",
        automatic_tax={"disabled_reason": None, "enabled": False, "liability": None, "provider": None, "status": None},
        currency=subscription["currency"], default_tax_rates=[], discounts=[], issuer={"type": "self"}, billing_reason=reason,
        lines={"object": "list", "has_more": False, "url": "/v1/invoices/lines", "data": lines}, metadata={},
        parent={"type": "subscription_details", "quote_details": None,
                "subscription_details": {"metadata": {}, "subscription": subscription["id"]}},
        payment_settings={"default_mandate": None, "payment_method_options": None, "payment_method_types": None},
        period_end=now, period_start=now, post_payment_credit_notes_amount=0, pre_payment_credit_notes_amount=0,
        starting_balance=before, status_transitions={"finalized_at": now, "marked_uncollectible_at": None, "paid_at": None,
                                                "voided_at": None},
        subtotal=net, total=total, customer_address=deepcopy(buyer["address"]), customer_name=buyer["name"],
        customer_tax_ids=[{"type": item["type"], "value": item["value"]} for item in buyer["tax_ids"]["data"]],
        hosted_invoice_url=f"{account.base_url}/i/{number}",
        invoice_pdf=f"{account.base_url}/pdf/{number}",
        total_taxes=[_tax(tax, net - off)],
    )  # fmt: skip


def _tax(amount: int, net: int) -> Object:
    return {"amount": amount, "tax_behavior": "exclusive", "tax_rate_details": {"tax_rate": "txr_1"},
            "taxability_reason": "standard_rated", "taxable_amount": net, "type": "tax_rate_details"}  # fmt: skip
