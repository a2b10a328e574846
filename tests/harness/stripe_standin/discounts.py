"""Coupons, promotion codes and discounts of a merchant at Stripe, and what they take off the lines of an invoice."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from tests.harness.stripe_standin.world import Account, Object

DAY = 86_400


def coupon(account: Account, name: str, now: int, **terms: Any) -> Object:
    """`terms`: percent_off, or amount_off and currency; duration; months; products."""
    months, products = terms.pop("months", None), terms.pop("products", None)
    made = account.make(
        "coupon", amount_off=terms.pop("amount_off", None), currency=terms.pop("currency", None), name=name, metadata={},
        percent_off=terms.pop("percent_off", None), duration=terms.pop("duration", "forever"), duration_in_months=months,
        max_redemptions=None, redeem_by=None, times_redeemed=0, valid=True,
    )  # fmt: skip
    if products:
        account.private[made["id"]]["products"] = products
    made["created"] = now
    assert not terms, terms
    return made


def promotion_code(account: Account, of: Object, code: str) -> Object:
    return account.make(
        "promotion_code", active=True, code=code, customer=None, customer_account=None, expires_at=None, max_redemptions=None, metadata={},
        promotion={"type": "coupon", "coupon": of["id"]}, times_redeemed=0,
        restrictions={"first_time_transaction": False, "minimum_amount": None, "minimum_amount_currency": None},
    )  # fmt: skip


def discount(account: Account, of: Object, now: int, code: Object | None = None, **owner: str) -> Object:
    """Redeem a coupon. `owner`: customer, subscription, subscription_item."""
    ends = now + of["duration_in_months"] * 30 * DAY if of["duration"] == "repeating" else None
    made = account.make(
        "discount", checkout_session=None, customer=owner.get("customer"), customer_account=None, end=ends, invoice=None, invoice_item=None,
        promotion_code=code["id"] if code else None, source={"type": "coupon", "coupon": of["id"]}, start=now,
        subscription=owner.get("subscription"), subscription_item=owner.get("subscription_item"),
    )  # fmt: skip
    del made["livemode"], made["created"]
    return made


def read_coupon(account: Account, values: dict[str, Any], identifier: str) -> Object:
    return account.get(identifier, "coupon")


def expand_products(account: Account, body: Object, expand: list[str]) -> None:
    """Add the products of a coupon, which Stripe returns only where their expansion is requested."""
    products = account.private.get(str(body.get("id")), {}).get("products")
    if body.get("object") == "coupon" and products and "applies_to" in expand:
        body["applies_to"] = {"products": products}


def apply(account: Account, now: int, subscription: Object, items: list[Object], lines: list[Object]) -> None:
    """Take the discounts off the lines: those of an item first, then the subscription's, else the customer's."""
    of_customer = account.objects[subscription["customer"]].get("discount")
    for item in items:
        mine = [line for line in lines if line["parent"]["subscription_item_details"]["subscription_item"] == item["id"]]
        for held in item["discounts"]:
            _take(account, now, account.objects[held], mine)
    for held in subscription["discounts"] or ([of_customer["id"]] if of_customer else []):
        _take(account, now, account.objects[held], lines)


def _take(account: Account, now: int, held: Object, lines: list[Object]) -> None:
    if held["end"] is not None and now >= held["end"]:
        return
    of = account.objects[held["source"]["coupon"]]
    products = account.private[of["id"]].get("products")
    lines = [line for line in lines if not products or line["pricing"]["price_details"]["product"] in products]
    left = [line["amount"] - sum(item["amount"] for item in line["discount_amounts"]) for line in lines]
    if of["percent_off"] is not None:
        taken = [int((amount * Decimal(str(of["percent_off"])) / 100).quantize(Decimal(1), ROUND_HALF_UP)) for amount in left]
    else:
        off = min(of["amount_off"], sum(left))
        taken = [off * amount // (sum(left) or 1) for amount in left]
        taken[-1:] = [off - sum(taken[:-1])] if taken else []
    for line, amount in zip(lines, taken, strict=True):
        line["discount_amounts"].append({"amount": amount, "discount": held["id"]})


def used(account: Account, subscription: Object) -> None:
    """Remove the discounts that count once, after an invoice."""
    once = [held for held in subscription["discounts"] if account.objects[account.objects[held]["source"]["coupon"]]["duration"] == "once"]
    subscription["discounts"] = [held for held in subscription["discounts"] if held not in once]


OPERATIONS = {
    ("GET", "/v1/coupons/{coupon}"): read_coupon,
    ("GET", "/v1/promotion_codes/{promotion_code}"): lambda account, values, identifier: account.get(identifier, "promotion_code"),
}
