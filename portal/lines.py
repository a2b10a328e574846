"""A subscription as a line of a list: everything the row says, in words, and what may be done with it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from flask_babel import gettext as _
from markupsafe import Markup

from billing import lifecycle, policy, pricing
from billing.elsewhere import can
from billing.queries.subscriptions import SubscriptionRow
from core import clock
from core.pages import date_tag, state_tag, words
from core.web import exists_here, here
from portal.renewals import next_charge
from portal.standing import Account, account, is_several
from portal.words import card, interval, is_soon, last_day, sentence


@dataclass
class Line:
    """What `templates/portal/_subscription.html` draws. `about` is read out where a button is named."""

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


def lines(rows: list[SubscriptionRow]) -> list[Line]:
    prefix = here("subscriptions")
    return [line(row, f"{prefix}/{row.id}") for row in rows]


def line(row: SubscriptionRow, url: str) -> Line:
    theirs, said = account(row.business_id, row.customer_id), words()
    second = ", ".join(part for part in (theirs.name if is_several() else "", _quantity(row)) if part)
    month = last_day(row.expiry_month, row.expiry_year)
    soon = is_soon(row.expiry_month, row.expiry_year)
    payable = bool(row.dues_minor) and not theirs.archived_at and exists_here("payment_method")
    return Line(
        row=row, account=theirs, url=url, second=second, about=", ".join(part for part in (row.name, second) if part),
        state=state(row), when=when(row), card="" if row.is_ending else card(row.brand, row.last4, row.kind),
        soon=_("expires %(month)s", month=said.date(month, "month")) if month and soon and not row.is_ending else "",
        price=said.money(price(row, theirs), row.currency), interval=interval(row.interval, row.interval_count),
        pay_url=f"{url}/payment-method" if payable else None,
        pay_amount=said.money(row.dues_minor, row.currency) if row.dues_minor else "",
        keep_url=f"{url}/cancellation/revocation" if may_keep(row, theirs) else None, actions=actions(row, theirs, url),
    )


def state(row: SubscriptionRow) -> Markup:
    return state_tag("subscription", row.status, trial=row.is_trial, ending=row.is_ending, checking=row.is_checking,
                     needs_action=row.needs_confirming)


def when(row: SubscriptionRow) -> Markup:
    """The date that matters now, with its verb."""
    if row.is_checking and row.payment_minor is not None:
        return sentence(_("%(amount)s, since %(date)s"), amount=words().money(row.payment_minor, row.currency),
                        date=date_tag(row.payment_at, "moment"))
    pattern, moment = {
        "pending": (_("since %(date)s"), row.created_at), "on_hold": (_("since %(date)s"), row.on_hold_at),
        "past_due": (_("due since %(date)s"), row.next_billing_at), "paused": (_("since %(date)s"), row.paused_at),
        "cancelled": (_("ended %(date)s"), row.cancelled_at), "expired": (_("ended %(date)s"), row.expires_at),
        "failed": (_("on %(date)s"), row.created_at),
    }.get(row.status, (_("renews %(date)s"), row.next_billing_at))
    if row.is_ending:
        pattern, moment = _("ends %(date)s"), row.next_billing_at
    elif row.is_trial:
        pattern, moment = _("free until %(date)s"), row.trial_ends_at
    return sentence(pattern, date=date_tag(moment, "line")) if moment else Markup("")


def may_cancel(row: SubscriptionRow, business: Account) -> bool:
    return (can(row.collected_by, "cancel") and not row.cancel_at_period_end and business.archived_at is None
            and lifecycle.may(lifecycle.SUBSCRIPTION, row.status, "schedule_cancel") and policy.allows(business, "cancel"))  # type: ignore[arg-type]


def may_keep(row: SubscriptionRow, business: Account) -> bool:
    return (can(row.collected_by, "keep") and row.cancel_at_period_end and business.archived_at is None
            and lifecycle.may(lifecycle.SUBSCRIPTION, row.status, "keep"))


def actions(row: SubscriptionRow, business: Account, url: str) -> list[dict[str, Any]]:
    """The menu: only what this state and this business allow, and what has a page."""
    if not can(row.collected_by, "cancel") or business.archived_at:
        return [{"url": url, "label": _("Look at it")}]
    may = lambda verb: lifecycle.may(lifecycle.SUBSCRIPTION, row.status, verb)  # noqa: E731
    items: list[dict[str, Any]] = []
    if row.in_flight:
        items.append({"url": url, "label": _("See the payment")})
    elif may("change_plan") and policy.allows(business, "plan_change") and exists_here("plan_change") and not row.is_ending \
            and not row.planned_product_id and (label := change_label(row, business)):  # type: ignore[arg-type]
        items.append({"url": f"{url}/plan-change", "label": label})
    if may("change_method") and (not row.in_flight or row.may_replace) and exists_here("payment_method"):
        label = _("Pay with another card") if row.dues_minor or row.may_replace else _("Change card")
        items.append({"url": f"{url}/payment-method", "label": label})
    if may("change_method") and exists_here("billing_details"):
        items.append({"url": f"{url}/billing-details", "label": _("Billing details")})
    rule = bool(items)
    if may("pause") and policy.allows(business, "pause") and exists_here("pause") and not row.in_flight and not row.is_ending:  # type: ignore[arg-type]
        items.append({"url": f"{url}/pause", "label": _("Pause"), "line": rule})
        rule = False
    if may("resume") and exists_here("pause"):
        items.append({"url": f"{url}/pause", "label": _("Resume"), "line": rule})
        rule = False
    if may_cancel(row, business):
        items.append({"url": f"{url}/cancellation", "label": _("Cancel the trial") if row.is_trial else _("Cancel"), "line": rule})
    return items


def change_label(row: SubscriptionRow, business: Account) -> str:
    """What the page of plan changes offers to change; empty where nothing can be chosen there."""
    if row.has_other_plans:
        return _("Change plan")
    if row.price_type == "usage_based_price":
        return ""
    if row.offered_addons or row.addons:
        return _("Change add-ons")
    return _("Change quantity") if row.quantity > 1 or policy.setting(business, "multiple_subscriptions") else ""  # type: ignore[arg-type]


def _quantity(row: SubscriptionRow) -> str:
    return _("%(count)s times", count=words().count(row.quantity)) if row.quantity > 1 else ""


def ends_at(row: SubscriptionRow) -> datetime | None:
    """When a cancelled one would end; None where that day has passed already (what is on hold ends as it is)."""
    return row.next_billing_at if row.next_billing_at and row.next_billing_at > clock.now() else None


def price(row: SubscriptionRow, business: Account) -> int:
    """What one period takes, tax included: the figure that will stand on the bank's statement."""
    return pricing.total(next_charge(row, business))


SORTS = ("date", "business", "price")


def sort(rows: list[SubscriptionRow], by: str) -> list[SubscriptionRow]:
    """What needs the reader first when ordered by date; prices within their currency, dearest first."""
    from portal.standing import businesses

    names = businesses()
    if by == "business":
        return sorted(rows, key=lambda one: (names[one.business_id].name.casefold(), one.name.casefold()))
    if by == "price":
        return sorted(rows, key=lambda one: (one.currency, -price(one, account(one.business_id, one.customer_id)), one.name.casefold()))
    rank = {"on_hold": 0, "past_due": 0, "paused": 3}
    return sorted(rows, key=lambda one: (
        1 if one.is_checking else rank.get(one.status, 2),
        one.next_billing_at.isoformat() if one.next_billing_at else "9", one.name.casefold()))
