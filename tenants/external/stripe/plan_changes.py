"""Plan changes of subscriptions at Stripe: what a change costs now, and the change itself.

The preview and the change name the same moment (`proration_date`), so that Stripe computes the same proration for both. The change is sent
with `payment_behavior=pending_if_incomplete`: if the payment fails or the bank asks for 3-D Secure, Stripe keeps the old plan, and applies
the change when its invoice is paid on the hosted page. It drops the change after 23 hours. `allow_incomplete`, the default, would apply the
change without the payment, and `error_if_incomplete` has no page where the bank's question can be answered.
https://docs.stripe.com/billing/subscriptions/pending-updates
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from core.errors import N_
from tenants.external.stripe.catalogue import is_by_use, name_of
from tenants.external.stripe.subscriptions import items_of
from tenants.external.stripe.values import child, children, currency, id_of, minor, moment
from tenants.external.system import CallFailed, Json

BY_USE = N_("Plans that are billed by usage can't be changed here. Contact the business.")
SCHEDULED = N_("The business has scheduled changes of this subscription. To change the plan, contact the business.")
BY_INVOICE = N_("This subscription is paid by invoice. To change the plan, contact the business.")
UNPAID_CHANGE = N_("An earlier plan change of this subscription isn't paid yet.")
OTHER_ITEM = N_("This add-on can't be changed here. Contact the business.")
LATER = N_("This change can't start at the next billing date. To change the plan, contact the business.")
DIFFERENCE = N_("The billing system can't charge the difference of the two prices. To change the plan, contact the business.")
CODES = N_("Discount codes can't be used for this change.")

_MODES: dict[str, tuple[str, str | None]] = {
    "prorated_immediately": ("always_invoice", "now"),
    "prorated_immediately_keep_cycle": ("always_invoice", None),
    "full_immediately": ("none", "now"),
    "do_not_bill": ("none", None),
}
"""Our modes (docs/plan-changes.md) as `proration_behavior` and `billing_cycle_anchor`."""


@dataclass(frozen=True)
class Change:
    """A change as parameters of Stripe. `restarts`: a new billing period begins. `names`: by price. `ends`: of the running period."""

    parameters: Json
    restarts: bool
    price: str
    names: Mapping[str, str]
    ends: int

    @property
    def bills_now(self) -> bool:
        """Whether Stripe issues an invoice at once."""
        return self.restarts or self.parameters["proration_behavior"] == "always_invoice"


def read_change(api: Any, subscription_id: str, plan: Mapping[str, Any]) -> Change:
    """Read the subscription and return the change of its items. Raises CallFailed for one that cannot be made."""
    if plan.get("codes"):
        raise _refused(CODES)
    if plan["effective_at"] != "immediately":
        raise _refused(LATER)
    if plan["mode"] not in _MODES:
        raise _refused(DIFFERENCE)
    found = api.get(f"/v1/subscriptions/{subscription_id}", expand=["items.data.price.product"])
    present, *others = items_of(found)
    new = present["price"]
    if plan["product_id"] != id_of(new):
        new = api.get(f"/v1/prices/{plan['product_id']}", expand=["product"])
    if is_by_use(present["price"]) or is_by_use(new):
        raise _refused(BY_USE)
    for is_so, why in (
        (found.get("schedule") is not None, SCHEDULED),
        (found.get("collection_method") == "send_invoice", BY_INVOICE),
        (found.get("pending_update") is not None, UNPAID_CHANGE),
    ):
        if is_so:
            raise _refused(why)
    items = [{"id": present["id"], "price": plan["product_id"], "quantity": plan["quantity"]}, *_other_items(others, plan["addons"])]
    behavior, anchor = _MODES[plan["mode"]]
    if found.get("status") == "trialing":  # nothing was paid yet, and the new price is charged when the trial ends
        behavior, anchor = "none", None
    restarts = anchor == "now" or (found.get("status") != "trialing" and _interval(new) != _interval(present["price"]))
    parameters: Json = {"items": items, "proration_behavior": behavior}
    parameters |= {"billing_cycle_anchor": anchor} if anchor else {}
    parameters |= {"proration_date": int(datetime.fromisoformat(plan["as_of"]).timestamp())} if behavior != "none" else {}
    return Change(
        parameters,
        restarts=restarts,
        price=plan["product_id"],
        names={str(id_of(price)): name_of(price) for price in (new, *(item["price"] for item in others), present["price"])},
        ends=present["current_period_end"],
    )


def preview(api: Any, subscription_id: str, plan: Mapping[str, Any]) -> Json:
    """Return what the change costs now, in the shape of `plan_previews.Preview`. Raises CallFailed, or an error of UNREADABLE."""
    change = read_change(api, subscription_id, plan)
    later = _ask(api, subscription_id, change, preview_mode="recurring")
    code = currency(later.get("currency"))
    after: Json = {
        "recurring_pre_tax_amount": max(minor(later.get("total"), code), 0), "tax_inclusive": True, "on_payment_failure": "prevent_change",
        "next_billing_date": moment(change.ends),
    }  # fmt: skip
    if not change.bills_now:
        return {"immediate_charge": {"line_items": [], "summary": {"total_amount": 0, "tax": 0}}, "new_plan": after}
    now = _ask(api, subscription_id, change)
    due, total = minor(now.get("amount_due"), code), minor(now.get("total"), code)
    balance = minor(now.get("starting_balance") or 0, code)  # of the customer: negative is credit
    deferred = max(total + balance - due, 0)
    lines = children(now, "lines")
    if change.restarts:
        after["next_billing_date"] = moment(max(child(line, "period", "end") for line in lines if _price(line) == change.price))
    return {
        "immediate_charge": {
            "line_items": [_line(line, change, code) for line in lines],
            "summary": {
                "total_amount": due, "carried": max(balance, 0), "deferred": deferred,
                "customer_credits": due - total - max(balance, 0) + deferred,
                "tax": sum(minor(item.get("amount"), code) for item in children(now, "total_taxes")),
            },
        },
        "new_plan": after,
    }  # fmt: skip


def change_plan(api: Any, subscription_id: str, plan: Mapping[str, Any], key: str) -> str | None:
    """Change the plan. Returns the hosted page of the invoice that has to be paid before Stripe applies the change; None if it did."""
    change = read_change(api, subscription_id, plan)
    found = api.post(
        f"/v1/subscriptions/{subscription_id}", key=key, payment_behavior="pending_if_incomplete", expand=["latest_invoice"],
        **change.parameters,
    )  # fmt: skip
    link = child(found, "latest_invoice", "hosted_invoice_url") if found.get("pending_update") is not None else None
    return link if isinstance(link, str) else None


def _ask(api: Any, subscription_id: str, change: Change, **more: str) -> Json:
    return api.post(  # type: ignore[no-any-return]
        "/v1/invoices/create_preview", subscription=subscription_id, subscription_details=change.parameters, **more
    )


def _other_items(others: list[Json], wanted: list[Json]) -> list[Json]:
    """Return the changes of the add-ons. Items that stay as they are, are not named, so Stripe leaves them alone."""
    requested, out = {item["addon_id"]: item["quantity"] for item in wanted}, []
    for item in others:
        quantity = requested.pop(str(id_of(item.get("price"))), None)
        if quantity == (item.get("quantity") or 1):
            continue
        if is_by_use(item["price"]):
            raise _refused(OTHER_ITEM)
        out.append({"id": item["id"], "deleted": True} if quantity is None else {"id": item["id"], "quantity": quantity})
    if requested:
        raise _refused(OTHER_ITEM)
    return out


def _line(line: Json, change: Change, code: str) -> Json:
    """Return a line of an invoice with its discounts subtracted. The quantity is a part of the name, because the amount is prorated."""
    price, quantity = _price(line), line.get("quantity") or 1
    taxes = children(line, "taxes")
    amount = minor(line.get("amount"), code) - sum(minor(item.get("amount"), code) for item in children(line, "discount_amounts"))
    name = change.names.get(price) or line.get("description") or ""
    return {
        "type": "subscription" if price == change.price else "addon", "name": f"{name} × {quantity}" if quantity > 1 else name,
        "unit_price": amount, "tax": sum(minor(item.get("amount"), code) for item in taxes),
        "tax_inclusive": any(item.get("tax_behavior") == "inclusive" for item in taxes),
    }  # fmt: skip


def _price(line: Json) -> str:
    return id_of(child(line, "pricing", "price_details", "price")) or ""


def _interval(price: Json) -> tuple[Any, Any]:
    return child(price, "recurring", "interval"), child(price, "recurring", "interval_count") or 1


def _refused(sentence: str) -> CallFailed:
    return CallFailed(400, sentence)
