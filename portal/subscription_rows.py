"""Subscriptions as lines of a list, with their texts and available actions."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from flask_babel import gettext as _
from markupsafe import Markup

from auth.visit_rows import Account
from billing.external.port import NO_USAGE_PLANS, can, pays_there
from billing.model import lifecycle, policy
from billing.pricing import prices
from billing.subscriptions.subscription_row import SubscriptionRow
from core import clock
from core.links import exists_here, here
from core.template_context import date_tag, formatter, state_tag
from portal.phrases import card, interval, is_soon, last_day, sentence
from portal.renewals import is_charged, next_charge
from portal.request_accounts import account, is_several


@dataclass
class SubscriptionLine:
    """The data of one row in `templates/portal/_subscription.html`. `about` is read out by screen readers with a button."""

    row: SubscriptionRow
    account: Account
    url: str
    second: str
    about: str
    state: Markup
    when: Markup
    card: str
    soon: str
    price: str
    interval: str
    pay_url: str | None
    pay_amount: str
    keep_url: str | None
    actions: list[dict[str, Any]] = field(default_factory=list)


def lines(rows: list[SubscriptionRow]) -> list[SubscriptionLine]:
    prefix = here("subscriptions")
    return [line(row, f"{prefix}/{row.id}") for row in rows]


def line(row: SubscriptionRow, url: str) -> SubscriptionLine:
    theirs, fmt = account(row.business_id, row.customer_id), formatter()
    second = ", ".join(part for part in (theirs.name if is_several() else "", _quantity(row)) if part)
    month = last_day(row.expiry_month, row.expiry_year)
    soon = is_soon(row.expiry_month, row.expiry_year)
    payable = bool(row.dues_minor) and not theirs.archived_at and exists_here("payment_method")
    return SubscriptionLine(
        row=row,
        account=theirs,
        url=url,
        second=second,
        about=", ".join(part for part in (row.name, second) if part),
        state=state(row),
        when=when(row),
        card="" if row.is_ending else card(row.brand, row.last4, row.kind),
        soon=_("expires %(month)s", month=fmt.date(month, "month")) if month and soon and not row.is_ending else "",
        price=fmt.money(price(row, theirs), row.currency),
        interval=interval(row.interval, row.interval_count),
        pay_url=pay_page(row.collected_by, url) if payable else None,
        pay_amount=fmt.money(row.dues_minor, row.currency) if row.dues_minor else "",
        keep_url=f"{url}/cancellation/revocation" if may_keep(row, theirs) else None,
        actions=actions(row, theirs, url),
    )


def pay_page(collected_by: str, url: str) -> str:
    """Return the page where the dues of the subscription at `url` are paid."""
    return f"{url}/invoice-payment" if pays_there(collected_by) else f"{url}/payment-method"


def state(row: SubscriptionRow) -> Markup:
    return state_tag(
        "subscription", row.status, trial=row.is_trial, ending=row.is_ending, checking=row.is_checking, needs_action=row.needs_confirming
    )


def when(row: SubscriptionRow) -> Markup:
    """Return the next relevant date with its verb, such as "renews 3 December"."""
    if row.is_checking and row.payment_minor is not None:
        return sentence(
            _("%(amount)s, since %(date)s"),
            amount=formatter().money(row.payment_minor, row.currency),
            date=date_tag(row.payment_at, "moment"),
        )
    pattern, moment = {
        "pending": (_("since %(date)s"), row.created_at),
        "on_hold": (_("since %(date)s"), row.on_hold_at),
        "past_due": (_("due since %(date)s"), row.next_billing_at),
        "paused": (_("since %(date)s"), row.paused_at),
        "cancelled": (_("ended %(date)s"), row.cancelled_at),
        "expired": (_("ended %(date)s"), row.expires_at),
        "failed": (_("on %(date)s"), row.created_at),
    }.get(row.status, (_("renews %(date)s"), row.next_billing_at))
    if row.is_ending:
        pattern, moment = _("ends %(date)s"), row.next_billing_at
    elif row.is_trial:
        pattern, moment = _("free until %(date)s"), row.trial_ends_at
    elif row.status == "active" and row.next_billing_at and not is_charged(row):
        pattern, moment = _("paid until %(date)s"), row.next_billing_at if row.next_billing_at > clock.now() else None
    return sentence(pattern, date=date_tag(moment, "line")) if moment else Markup("")


def may_cancel(row: SubscriptionRow, business: Account) -> bool:
    return _is_cancellable(row, business) and policy.allows_cancelling(business, row)


def cancels_by_contact(row: SubscriptionRow, business: Account) -> bool:
    """Return whether the subscription could be cancelled, but its customers have to ask the business."""
    return _is_cancellable(row, business) and not policy.allows_cancelling(business, row)


def _is_cancellable(row: SubscriptionRow, business: Account) -> bool:
    return (
        can(row.collected_by, "cancel")
        and not row.cancel_at_period_end
        and business.archived_at is None
        and lifecycle.may(lifecycle.SUBSCRIPTION, row.status, "schedule_cancel")
    )


def may_change_method(row: SubscriptionRow, business: Account) -> bool:
    return (
        can(row.collected_by, "change_method")
        and business.archived_at is None
        and lifecycle.may(lifecycle.SUBSCRIPTION, row.status, "change_method")
    )


def may_edit_billing(row: SubscriptionRow, business: Account) -> bool:
    return can(row.collected_by, "edit_billing") and business.archived_at is None and row.status in lifecycle.LIVE


def may_keep(row: SubscriptionRow, business: Account) -> bool:
    return (
        can(row.collected_by, "keep")
        and row.cancel_at_period_end
        and business.archived_at is None
        and lifecycle.may(lifecycle.SUBSCRIPTION, row.status, "keep")
    )


def actions(row: SubscriptionRow, business: Account, url: str) -> list[dict[str, Any]]:
    """Return the menu of the actions that the state, the business and the current portal allow. `name`: what an action does."""
    if not can(row.collected_by, "cancel") or business.archived_at:
        return [{"name": "view", "url": url, "label": _("View subscription")}]

    def may(verb: str) -> bool:
        return lifecycle.may(lifecycle.SUBSCRIPTION, row.status, verb) and can(row.collected_by, verb)

    items: list[dict[str, Any]] = []
    if row.in_flight:
        items.append({"name": "payment", "url": url, "label": _("View payment")})
    elif (
        may("change_plan")
        and policy.allows(business, "plan_change")
        and exists_here("plan_change")
        and not row.is_ending
        and not row.planned_product_id
        and (label := change_label(row, business))
    ):
        items.append({"name": "plan_change", "url": f"{url}/plan-change", "label": label})
    may_pay_here = row.dues_minor and not pays_there(row.collected_by)
    if may("change_method") and (not row.in_flight or row.may_replace) and exists_here("payment_method"):
        label = _("Pay with another card") if may_pay_here or row.may_replace else _("Change card")
        items.append({"name": "method", "url": f"{url}/payment-method", "label": label})
    if may("change_method") and can(row.collected_by, "edit_billing") and exists_here("billing_details"):
        items.append({"name": "billing_details", "url": f"{url}/billing-details", "label": _("Billing details")})
    rule = bool(items)
    if may("pause") and policy.allows(business, "pause") and exists_here("pause") and not row.in_flight and not row.is_ending:
        items.append({"name": "pause", "url": f"{url}/pause", "label": _("Pause subscription"), "line": rule})
        rule = False
    if may("resume") and exists_here("pause"):
        items.append({"name": "resume", "url": f"{url}/pause", "label": _("Resume subscription"), "line": rule})
        rule = False
    if may_cancel(row, business):
        label = _("Cancel trial") if row.is_trial else _("Cancel subscription")
        items.append({"name": "cancel", "url": f"{url}/cancellation", "label": label, "line": rule})
    return items


def change_label(row: SubscriptionRow, business: Account) -> str:
    """Return the label of the plan-change action, or an empty string if nothing can be changed."""
    if row.price_type == "usage_based_price" and row.collected_by in NO_USAGE_PLANS:
        return ""
    if row.has_other_plans:
        return _("Change plan")
    if row.price_type == "usage_based_price":
        return ""
    if row.offered_addons or row.addons:
        return _("Change add-ons")
    return _("Change quantity") if row.quantity > 1 or policy.setting(business, "multiple_subscriptions") else ""


def _quantity(row: SubscriptionRow) -> str:
    return _("%(count)s times", count=formatter().count(row.quantity)) if row.quantity > 1 else ""


def ends_at(row: SubscriptionRow) -> datetime | None:
    """Return when a cancelled subscription would end; None if that day has passed (it is on hold then)."""
    return row.next_billing_at if row.next_billing_at and row.next_billing_at > clock.now() else None


def price(row: SubscriptionRow, business: Account) -> int:
    """Return the price of one period including tax, in minor units."""
    return prices.total(next_charge(row, business))


SORTS = ("date", "business", "price")


def sort(rows: list[SubscriptionRow], by: str) -> list[SubscriptionRow]:
    """Return the rows in order. By date, unpaid rows come first. By price, the highest come first within each currency."""
    from portal.request_accounts import businesses

    names = businesses()
    if by == "business":
        return sorted(rows, key=lambda row: (names[row.business_id].name.casefold(), row.name.casefold()))
    if by == "price":
        return sorted(rows, key=lambda row: (row.currency, -price(row, account(row.business_id, row.customer_id)), row.name.casefold()))
    rank = {"on_hold": 0, "past_due": 0, "paused": 3}
    return sorted(
        rows,
        key=lambda row: (
            1 if row.is_checking else rank.get(row.status, 2),
            row.next_billing_at.isoformat() if row.next_billing_at else "9",
            row.name.casefold(),
        ),
    )
