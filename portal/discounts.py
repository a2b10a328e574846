"""Discount codes in words: what each gives, for how long, and which come along when a plan changes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from flask_babel import gettext as _
from flask_babel import ngettext

from billing.discounts import cycles_left, fits
from billing.queries.subscriptions import SubscriptionRow
from billing.quotes import Quote
from core.pages import words


@dataclass(frozen=True)
class Code:
    """`state`: new or kept (from the present plan), taken (away by the reader), or lost with the present plan."""

    code: str
    gives: str
    state: Literal["new", "kept", "taken", "lost"]
    may_go: bool = True


def codes_of(row: SubscriptionRow, quote: Quote, before_tax: bool) -> list[Code]:
    """Of a plan change: those it has, then those of the present plan that it has not. `before_tax`: tax comes on top of the prices.
    What another system lets stay by itself stays (billing/commands/plan_elsewhere.py)."""
    if row.collected_by != "us":
        return [Code(one["code"], gives(one, quote.currency, one["cycles"], before_tax), "new" if one["named"] else "kept", one["named"])
                for one in quote.discounts]
    present = {one["code"]: one for one in row.discounts or [] if cycles_left(one, row.period_n) != 0}
    over = {one["code"] for one in row.discounts or []} - set(present)
    first = row.period_n + (0 if quote.lines and not quote.restarts else 1)  # the period that is billed with the change
    out = [
        Code(one["code"], gives(one, quote.currency, cycles_left(one, first - 1), before_tax),
             "kept" if one["code"] in present else "new")
        for one in quote.discounts if one["code"] not in over
    ]
    has = {one["code"] for one in quote.discounts}
    return out + [
        Code(code, gives(one, quote.currency, cycles_left(one, row.period_n), before_tax),
             "taken" if one["keeps"] and fits(one, quote.product_id) else "lost")
        for code, one in present.items() if code not in has
    ]


def gives(held: dict[str, Any], currency: str, left: int | None, before_tax: bool) -> str:
    """`left`: payments it holds for; None for all."""
    said = words()
    if not held["type"]:
        return ""
    much = said.percent(held["amount"]) if held["type"] == "percentage" else said.money(held["amount"], currency)
    if left is None:
        parts = [_("%(much)s off every payment", much=much)]
    else:
        parts = [ngettext("%(much)s off the next payment", "%(much)s off the next %(num)d payments", left, much=much)]
    if held.get("most") is not None:
        parts.append(_("at most %(amount)s", amount=said.money(held["most"], currency)))
    if held.get("least"):
        parts.append(_("from a price of %(amount)s", amount=said.money(held["least"], currency)))
    if before_tax and (held["type"] != "percentage" or len(parts) > 1):
        parts.append(_("before tax"))
    return ", ".join(parts)


def name(held: dict[str, Any]) -> str:
    """For a line of a price: `WELCOME −20%` for a share, the code alone for an amount."""
    share = f" \u2212{words().percent(held['amount'])}" if held["type"] == "percentage" else ""
    return f"{held['code']}{share}"
