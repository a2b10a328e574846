"""Small phrases the pages share: intervals, cards, reasons a bank gave."""

from __future__ import annotations

from calendar import monthrange
from datetime import date, datetime
from typing import Any, Protocol

from flask_babel import gettext as _
from flask_babel import ngettext
from markupsafe import Markup

from billing.postal import address_lines
from core.pages import words

_BRANDS = {"visa": "Visa", "mastercard": "Mastercard", "amex": "American Express", "discover": "Discover",
           "jcb": "JCB", "diners": "Diners Club",
           "unionpay": "UnionPay"}


class Method(Protocol):
    """Anything with a card's public parts."""

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


def sentence(pattern: str, **values: Any) -> Markup:
    """A translated sentence of ours with values put in; what is not markup already is escaped."""
    return Markup(pattern) % values  # noqa: S704 - the pattern is ours, the values are escaped by %


def interval(unit: str, count: int = 1) -> str:
    """How often: "a month", "every 3 months"."""
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
    """How often, after "then": "every month", "every 3 months"."""
    if count > 1:
        return interval(unit, count)
    return {"Day": _("every day"), "Week": _("every week"), "Month": _("every month"), "Year": _("every year")}[unit]


def card(brand: str | None, last4: str | None, kind: str | None = "card") -> str:
    """"Visa ending 4242"; empty when nothing is known."""
    if not last4 and not brand:
        return ""
    known = _BRANDS.get((brand or "").lower().replace(" ", ""))
    name = known or (brand or "").title() or (_("Card") if kind in (None, "card") else _("Account"))
    return _("%(brand)s ending %(last4)s", brand=name, last4=last4) if last4 else name


def card_of(method: dict[str, Any] | None) -> str:
    """The same, of what a payment remembers."""
    one = method or {}
    return card(one.get("brand"), one.get("last4"), one.get("kind"))


def card_said(method: str) -> str:
    """The same, of what an event remembers: "visa 4242"."""
    brand, _space, last4 = method.rpartition(" ")
    return card(brand, last4) if last4.isdigit() else card(method, None)


def last_day(month: int | None, year: int | None) -> date | None:
    """The last day a card works."""
    if not month or not year:
        return None
    return date(year, month, monthrange(year, month)[1])


def days_to(moment: datetime | None) -> int:
    """How many days the reader has until that day, today not counted; none for the past."""
    return max((words().local_date(moment) - words().today()).days, 0) if moment else 0


def expires(month: int | None, year: int | None) -> str:
    """"expires December 2026", or nothing for what does not expire."""
    day = last_day(month, year)
    if day is None:
        return ""
    said = words().date(day, "month")
    return _("expired in %(month)s", month=said) if day < words().today() else _("expires %(month)s", month=said)


def is_soon(month: int | None, year: int | None, days: int = 60) -> bool:
    day = last_day(month, year)
    return day is not None and (day - words().today()).days <= days


def reason(code: str | None) -> str:
    """Why a bank said no, in words; nothing for a code it keeps to itself."""
    return {
        "INSUFFICIENT_FUNDS": _("there was not enough money on it"), "EXPIRED_CARD": _("the card has expired"),
        "INCORRECT_CVC": _("the security code was wrong"), "CARD_LOST": _("the card is reported lost"),
        "LOST_CARD": _("the card is reported lost"), "STOLEN_CARD": _("the card is reported stolen"),
        "AUTHENTICATION_FAILURE": _("it was not confirmed with the bank"),
        "AUTHENTICATION_REQUIRED": _("it was not confirmed with the bank"), "DO_NOT_HONOR": _("the bank gave no reason"),
        "CARD_DECLINED": _("the bank gave no reason"), "GENERIC_DECLINE": _("the bank gave no reason"),
    }.get((code or "").upper(), "")


_UNSAID = frozenset({"DO_NOT_HONOR", "CARD_DECLINED", "GENERIC_DECLINE"})


def why_declined(code: str | None) -> str:
    """The bank's reason as a sentence of its own; nothing for a code it keeps to itself."""
    if (code or "").upper() in _UNSAID:
        return _("It gave no reason.")
    said = reason(code)
    return _("It said: %(reason)s.", reason=said) if said else ""


def billing_words(billing: dict[str, Any] | None) -> list[str]:
    """An address as lines, country in the reader's language."""
    country = country_name((billing or {}).get("country"))
    return [*address_lines(billing), *([country] if country else [])]


def country_name(code: str | None) -> str:
    """A country in the reader's language; a code nobody knows stands as it is."""
    from core.format import locale_of

    return str(locale_of(words().locale).territories.get(code or "") or code or "")
