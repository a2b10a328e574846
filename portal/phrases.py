"""Phrases shared by the customer pages: intervals, cards, decline reasons and addresses."""

from __future__ import annotations

from calendar import monthrange
from datetime import date, datetime
from typing import Any, Protocol

from flask_babel import gettext as _
from flask_babel import ngettext
from markupsafe import Markup

from billing.charging.method_details import NAMES
from billing.model.customer_types import customer_type_of
from billing.model.parties import Customer
from billing.model.payments import WALLETS
from billing.model.postal_addresses import address_lines
from core.template_context import formatter

_BRANDS = {
    "visa": "Visa",
    "mastercard": "Mastercard",
    "amex": "American Express",
    "discover": "Discover",
    "jcb": "JCB",
    "diners": "Diners Club",
    "unionpay": "UnionPay",
}


class Method(Protocol):
    """Any object with the public details of a card."""

    @property
    def brand(self) -> str | None: ...
    @property
    def last4(self) -> str | None: ...
    @property
    def kind(self) -> str | None: ...
    @property
    def expiry_month(self) -> int | None: ...
    @property
    def expiry_year(self) -> int | None: ...


class MethodName(Protocol):
    """Any object with what a saved method is called by."""

    @property
    def brand(self) -> str | None: ...
    @property
    def last4(self) -> str | None: ...
    @property
    def kind(self) -> str | None: ...
    @property
    def wallet(self) -> str | None: ...
    @property
    def display(self) -> str | None: ...


def sentence(pattern: str, **values: Any) -> Markup:
    """Return a translated sentence with values. Values that are not Markup are escaped."""
    return Markup(pattern) % values  # noqa: S704 - the pattern is ours, the values are escaped by %


def interval(unit: str, count: int = 1) -> str:
    """Return a billing interval: "a month", "every 3 months"."""
    if count == 1:
        return {"Day": _("a day"), "Week": _("a week"), "Month": _("a month"), "Year": _("a year")}[unit]
    if unit == "Day":
        return ngettext("every day", "every %(num)d days", count)
    if unit == "Week":
        return ngettext("every week", "every %(num)d weeks", count)
    if unit == "Month":
        return ngettext("every month", "every %(num)d months", count)
    return ngettext("every year", "every %(num)d years", count)


def every(unit: str, count: int = 1) -> str:
    """Return a billing interval for use after "then": "every month", "every 3 months"."""
    if count > 1:
        return interval(unit, count)
    return {"Day": _("every day"), "Week": _("every week"), "Month": _("every month"), "Year": _("every year")}[unit]


def card(brand: str | None, last4: str | None, kind: str | None = "card") -> str:
    """Return "Visa ending 4242", or an empty string if nothing is known."""
    if not last4 and not brand:
        return NAMES.get(kind or "", "")
    brand_name = _BRANDS.get((brand or "").lower().replace(" ", "")) or (brand if brand in NAMES.values() else None)
    name = brand_name or (brand or "").title() or (_("Card") if kind in (None, "card") else NAMES.get(kind) or _("Account"))
    return _("%(brand)s ending %(last4)s", brand=name, last4=last4) if last4 else name


def method_name(method: MethodName) -> str:
    """Return the name of a saved method, such as "Visa ending 4242, Apple Pay" or "Link, ada@example.com"; empty if nothing is known."""
    wallet = WALLETS.get(method.wallet or "", "")
    return ", ".join(part for part in (card(method.brand, method.last4, method.kind), wallet, method.display) if part)


def card_of(method: dict[str, Any] | None) -> str:
    """Return the card text for the method details that a payment stores, such as "Visa ending 4242, Apple Pay"."""
    item = method or {}
    name, wallet = card(item.get("brand"), item.get("last4"), item.get("kind")), WALLETS.get(item.get("wallet") or "")
    return f"{name}, {wallet}" if name and wallet else name


def card_of_event(method: str) -> str:
    """Return the card text for the method that an event stores, such as "visa 4242"."""
    brand, _space, last4 = method.rpartition(" ")
    return card(brand, last4) if last4.isdigit() else card(method, None)


def last_day(month: int | None, year: int | None) -> date | None:
    """Return the last day on which a card is valid."""
    if not month or not year:
        return None
    return date(year, month, monthrange(year, month)[1])


def days_until(moment: datetime | None) -> int:
    """Return the number of days from today until that day; 0 for the past."""
    return max((formatter().local_date(moment) - formatter().today()).days, 0) if moment else 0


def expires(month: int | None, year: int | None) -> str:
    """Return "expires December 2026", or an empty string without an expiry date."""
    day = last_day(month, year)
    if day is None:
        return ""
    text = formatter().date(day, "month")
    return _("expired in %(month)s", month=text) if day < formatter().today() else _("expires %(month)s", month=text)


def is_soon(month: int | None, year: int | None, days: int = 60) -> bool:
    day = last_day(month, year)
    return day is not None and (day - formatter().today()).days <= days


def decline_reason(code: str | None) -> str:
    """Return why a bank declined a payment, or an empty string for an unknown code."""
    return {
        "INSUFFICIENT_FUNDS": _("insufficient funds"),
        "EXPIRED_CARD": _("the card has expired"),
        "INCORRECT_CVC": _("the security code was wrong"),
        "CARD_LOST": _("the card was reported lost"),
        "LOST_CARD": _("the card was reported lost"),
        "STOLEN_CARD": _("the card was reported stolen"),
        "AUTHENTICATION_FAILURE": _("it wasn’t confirmed with the bank"),
        "AUTHENTICATION_REQUIRED": _("it wasn’t confirmed with the bank"),
        "DO_NOT_HONOR": _("the bank gave no reason"),
        "CARD_DECLINED": _("the bank gave no reason"),
        "GENERIC_DECLINE": _("the bank gave no reason"),
    }.get((code or "").upper(), "")


_WITHOUT_REASON = frozenset({"DO_NOT_HONOR", "CARD_DECLINED", "GENERIC_DECLINE"})


def bank_confirms(working_days: int) -> str:
    """Return within how many working days the bank confirms a payment."""
    return ngettext(
        "Your bank confirms it within one working day. We’ll email you when it does.",
        "Your bank confirms it within %(num)d working days. We’ll email you when it does.",
        working_days,
    )


def why_declined(code: str | None) -> str:
    """Return the decline reason as a sentence, or an empty string for an unknown code."""
    if (code or "").upper() in _WITHOUT_REASON:
        return _("The bank gave no reason.")
    text = decline_reason(code)
    return _("Reason: %(reason)s.", reason=text) if text else ""


def billing_lines(billing: dict[str, Any] | None) -> list[str]:
    """Return an address as lines, with the country in the customer's language."""
    country = country_name((billing or {}).get("country"))
    return [*address_lines(billing), *([country] if country else [])]


def country_name(code: str | None) -> str:
    """Return a country name in the customer's language, or the code itself if it is unknown."""
    from core.formatting import locale_of

    return str(locale_of(formatter().locale).territories.get(code or "") or code or "")


def type_choices() -> list[tuple[str, str]]:
    """Return (value, label) of who buys; the first says nothing."""
    return [("", _("Not stated")), ("consumer", _("A consumer")), ("business", _("A business"))]


def type_words(customer: Customer) -> tuple[str, str]:
    """Return whether a consumer or a business buys, and who said it."""
    name = dict(type_choices())[customer_type_of(customer)]
    if customer.customer_type_by == "customer":
        return name, _("The customer said so.")
    if customer.tax_id:
        return name, _("Because of the tax number.")
    return name, _("Your business said so.") if customer.customer_type else _("Nobody said otherwise.")


def consent_words() -> dict[str, str]:
    """Return the name of each kind of consent."""
    return {
        "terms": _("Terms"),
        "immediate_start": _("Start within the withdrawal period"),
        "digital_content": _("Delivery at once"),
        "renewal_price": _("Price of renewals"),
    }
