"""Descriptions of discount codes, and the codes of a plan change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from flask_babel import gettext as _
from flask_babel import ngettext

from billing.model.discounts import cycles_left, fits
from billing.model.quotes import Quote
from billing.subscriptions.subscription_row import SubscriptionRow
from core.template_context import formatter


@dataclass(frozen=True)
class Code:
    """A discount code in a plan change.

    `state`: "new", "kept" from the current plan, "taken" (removed by the customer) or "lost" (ends with the current plan).
    """

    code: str
    description: str
    state: Literal["new", "kept", "taken", "lost"]
    is_removable: bool = True


def codes_of_change(row: SubscriptionRow, quote: Quote, before_tax: bool) -> list[Code]:
    """Return the codes of a plan change, followed by the codes of the current plan that it drops.

    `before_tax`: prices exclude tax. Codes that an external billing system keeps cannot be removed (billing/plan_changes/external.py).
    """
    if row.collected_by != "us":
        return [
            Code(
                discount["code"],
                describe(discount, quote.currency, discount["cycles"], before_tax),
                "new" if discount["named"] else "kept",
                discount["named"],
            )
            for discount in quote.discounts
        ]
    current = {discount["code"]: discount for discount in row.discounts or [] if cycles_left(discount, row.period_n) != 0}
    used_up = {discount["code"] for discount in row.discounts or []} - set(current)
    first = row.period_n + (0 if quote.lines and not quote.restarts else 1)  # the period that is billed with the change
    applied = [
        Code(
            discount["code"],
            describe(discount, quote.currency, cycles_left(discount, first - 1), before_tax),
            "kept" if discount["code"] in current else "new",
        )
        for discount in quote.discounts
        if discount["code"] not in used_up
    ]
    has = {discount["code"] for discount in quote.discounts}
    return applied + [
        Code(
            code,
            describe(item, quote.currency, cycles_left(item, row.period_n), before_tax),
            "taken" if item["keeps"] and fits(item, quote.product_id) else "lost",
        )
        for code, item in current.items()
        if code not in has
    ]


def describe(discount: dict[str, Any], currency: str, left: int | None, before_tax: bool) -> str:
    """Return what a discount gives, such as "10% off the next 3 payments".

    `left`: number of payments it still applies to; None for all payments.
    """
    fmt = formatter()
    if not discount["type"]:
        return ""
    much = fmt.percent(discount["amount"]) if discount["type"] == "percentage" else fmt.money(discount["amount"], currency)
    if left is None:
        parts = [_("%(much)s off every payment", much=much)]
    else:
        parts = [ngettext("%(much)s off the next payment", "%(much)s off the next %(num)d payments", left, much=much)]
    if discount.get("most") is not None:
        parts.append(_("at most %(amount)s", amount=fmt.money(discount["most"], currency)))
    if discount.get("least"):
        parts.append(_("for prices from %(amount)s", amount=fmt.money(discount["least"], currency)))
    if before_tax and (discount["type"] != "percentage" or len(parts) > 1):
        parts.append(_("before tax"))
    return ", ".join(parts)


def line_name(discount: dict[str, Any]) -> str:
    """Return the name for a price line: `WELCOME −20%` for a percentage, only the code for an amount."""
    share = f" \u2212{formatter().percent(discount['amount'])}" if discount["type"] == "percentage" else ""
    return f"{discount['code']}{share}"
