"""Changes of a subscription's items: the preview of an invoice, prorations, and changes that wait for their payment."""

from __future__ import annotations

import time
from copy import deepcopy
from typing import Any

from tests.harness.stripe_standin import invoices
from tests.harness.stripe_standin.billing import LENGTH, Merchant
from tests.harness.stripe_standin.world import Account, Object, Problem

HOURS_23 = 23 * 3600


def preview(account: Account, values: dict[str, Any]) -> Object:
    """Return the next invoice after a change, or with `recurring` that of a whole period. It is stored nowhere."""
    found = account.get(values["subscription"], "subscription", "subscription")
    details = values.get("subscription_details", {})
    merchant = Merchant(account)
    items = _changed(account, found, details.get("items", []))
    lines, _ = _due(merchant, found, items, details)
    if values.get("preview_mode") == "recurring" or lines is None:
        lines = [invoices.line(merchant.account, found, item) for item in items]
    invoice = merchant.issue(found, "subscription_update", lines, kept=False)
    return invoice | {"id": f"upcoming_in_{invoice['id'][3:]}", "status": "draft"}


def change(account: Account, values: dict[str, Any], found: Object) -> None:
    """Change the items, and charge what that costs now. If the payment fails, `pending_if_incomplete` leaves the subscription as it is."""
    if found["pending_update"]:
        raise Problem(400, "This subscription has a pending update. It must be applied or expire first.")
    merchant, items = Merchant(account), _changed(account, found, values["items"])
    lines, period = _due(merchant, found, items, values)
    if lines is None:
        apply(account, found, items, period)
        return
    invoice = merchant.issue(found, "subscription_update", lines)
    buyer = account.objects[found["customer"]]
    buyer["balance"] += invoice["total"] - invoice["amount_due"]
    if invoice["amount_due"] == 0:
        invoice |= {"status": "paid", "amount_remaining": 0, "attempted": True}
        apply(account, found, items, period)
        return
    account.private[invoice["id"]]["pending"] = (items, period)
    if merchant.collect(invoice):
        return
    if values.get("payment_behavior") != "pending_if_incomplete":
        raise NotImplementedError("the portal asks for pending_if_incomplete only")
    expires = int(time.time()) + HOURS_23
    found["pending_update"] = {
        "billing_cycle_anchor": None, "expires_at": expires, "subscription_items": items, "trial_end": None, "trial_from_plan": None,
        "metadata": None, "discount": None, "discounts": None,
    }  # fmt: skip
    account.emit("customer.subscription.updated", found)


def apply(account: Account, found: Object, items: list[Object], period: tuple[int, int]) -> None:
    for item in items:
        item |= {"current_period_start": period[0], "current_period_end": period[1]}
    found["items"]["data"], found["pending_update"] = items, None
    account.emit("customer.subscription.updated", found)


def expire(account: Account, found: Object) -> None:
    """Nobody paid within 23 hours: the change is dropped and its invoice is void."""
    found["pending_update"] = None
    invoice = account.objects[found["latest_invoice"]]
    invoice |= {"status": "void", "amount_remaining": 0}
    account.emit("invoice.voided", invoice)
    account.emit("customer.subscription.updated", found)


def _changed(account: Account, found: Object, changes: list[dict[str, Any]]) -> list[Object]:
    items = {item["id"]: deepcopy(item) for item in found["items"]["data"]}
    for one in changes:
        if one.get("id") not in items:
            raise Problem(400, f"No such subscription item: {one.get('id')}", param="items")
        if one.get("deleted"):
            del items[one["id"]]
            continue
        item = items[one["id"]]
        if "price" in one:
            item["price"] = account.get(one["price"], "price", "items")
            if not item["price"]["active"]:
                raise Problem(400, f"The price specified is inactive: {one['price']}.", param="items")
        item["quantity"] = one.get("quantity", item["quantity"])
    if len({item["price"]["id"] for item in items.values()}) < len(items):
        raise Problem(400, "Cannot add multiple subscription items with the same plan.", param="items")
    return list(items.values())


def _due(merchant: Merchant, found: Object, items: list[Object], values: dict[str, Any]) -> tuple[list[Object] | None, tuple[int, int]]:
    """Return (lines of the invoice that is issued at once, None without one; the billing period afterwards)."""
    old = {item["id"]: item for item in found["items"]["data"]}
    first = next(iter(old.values()))
    starts, ends = first["current_period_start"], first["current_period_end"]
    at, behavior = values.get("proration_date", merchant.now), values.get("proration_behavior", "create_prorations")
    if not starts <= at <= ends:
        raise Problem(400, "The proration date must be in the current period.", param="proration_date")
    interval = items[0]["price"]["recurring"]["interval"]
    restarts = found["status"] != "trialing" and (
        values.get("billing_cycle_anchor") == "now" or interval != first["price"]["recurring"]["interval"]
    )
    period = (merchant.now, merchant.now + LENGTH[interval]) if restarts else (starts, ends)
    touched = [item for item in old.values() if restarts or item not in items]
    new = [item for item in items if restarts or item != old[item["id"]]]
    lines: list[Object] = []
    if behavior == "always_invoice" and found["status"] != "trialing":
        lines += [invoices.line(merchant.account, found, item, part=(at, ends), factor=-1) for item in touched]
        lines += [] if restarts else [invoices.line(merchant.account, found, item, part=(at, ends)) for item in new]
    if restarts:
        lines += [
            invoices.line(merchant.account, found, {**item, "current_period_start": period[0], "current_period_end": period[1]})
            for item in new
        ]
    return lines or None, period
