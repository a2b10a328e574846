"""Globals and context of all templates: formatting, links of the door, and small tags written in Python for speed.

Globals (also inside macros): here, exists_here, fmt, amount_tag, date_tag, state_tag, mark_tag, ruler_days, strip_bars.
Context: services, door, visitor, csp_nonce, brand_style, navigation, account_links, languages, lang, direction, zone_words.
"""

from __future__ import annotations

import datetime as dt
from functools import lru_cache
from typing import Any

from babel.dates import format_skeleton
from flask import Flask, g, request
from flask_babel import gettext as _
from markupsafe import Markup
from werkzeug.local import LocalProxy

from core import charts, clock, formatting, i18n, status_labels
from core.brand import brand_css, parse_color, scheme_of, text_color_on, to_hex
from core.links import exists_here, here
from core.operator_access import is_operator
from core.request_context import current_door, services
from core.security import csp_nonce

# label → endpoint names; the first one that exists at the door is used
_MAIN = (
    ("Overview", ("home", "overview")),
    ("Subscriptions", ("subscriptions",)),
    ("Purchases", ("purchases",)),
    ("Billing history", ("billing_history", "invoices")),
    ("Payment methods", ("payment_methods",)),
    ("License keys", ("license_keys", "licences")),
)
_ACCOUNT = (
    ("Profile and addresses", ("profile",)),
    ("Activity", ("activity",)),
    ("Where you are signed in", ("sessions",)),
    ("Export my records", ("export",)),
)


class LocaleFormatter:
    """Money and dates in one locale and zone: `fmt.money(2900, "EUR")`, `fmt.date(moment, "line")`."""

    def __init__(self, locale: str, zone: str = "UTC") -> None:
        self.locale, self.zone = locale, zone

    def money(self, minor: int, currency: str) -> str:
        return formatting.money(minor, currency, self.locale)

    def date(self, moment: dt.datetime | dt.date, style: str = "table") -> str:
        return formatting.date_words(moment, self.locale, self.zone, style)

    def instant(self, moment: dt.datetime, zone: str) -> str:
        """Format an instant to the second in `zone`, for receipts."""
        return formatting.instant_words(moment, self.locale, zone)

    def last_day(self, end: dt.datetime, style: str = "table") -> str:
        """Format the last day of a period with the exclusive end `end`."""
        return formatting.date_words(self.local_date(end) - dt.timedelta(days=1), self.locale, self.zone, style)

    def short(self, day: dt.date) -> str:
        """Format a day as `6 Dec`, or `6 Jan 2027` in another year, for the renewal chart."""
        return format_skeleton(
            "MMMd" if day.year == self.today().year else "yMMMd", day, locale="en_GB" if self.locale == "en" else self.locale
        )

    def local_date(self, moment: dt.datetime | dt.date) -> dt.date:
        return formatting.local_date(moment, self.zone)

    def percent(self, basis_points: int, exact: str | None = None) -> str:
        return formatting.percent(basis_points, self.locale, exact)

    def count(self, number: int) -> str:
        return formatting.count(number, self.locale)

    def today(self) -> dt.date:
        return formatting.local_date(clock.now(), self.zone)


def formatter() -> LocaleFormatter:
    """Return the formatter for the visitor's locale and zone, created once per request."""
    found: LocaleFormatter | None = g.get("formatter")
    if found is None:
        found = g.formatter = LocaleFormatter(i18n.locale(), i18n.chosen_zone())
    return found


def amount_tag(minor: int, currency: str) -> Markup:
    """Return an amount that is not broken over lines or reordered in right-to-left text."""
    return Markup('<span class="amt">{}</span>').format(formatter().money(minor, currency))


def date_tag(moment: dt.datetime | dt.date | None, style: str = "table") -> Markup:
    """Return `<time datetime>` with the formatted day or, for style "moment", the minute; empty for None."""
    if moment is None:
        return Markup("")
    fmt = formatter()
    if style == "moment" and isinstance(moment, dt.datetime):
        machine = moment.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%MZ")
    else:
        machine = fmt.local_date(moment).isoformat()
    return Markup('<time datetime="{}">{}</time>').format(machine, fmt.date(moment, style))


def icon_tag(name: str, classes: str = "") -> Markup:
    return Markup('<svg class="icon{}" aria-hidden="true"><use href="#i-{}"/></svg>').format(" " + classes if classes else "", name)


def state_tag(noun: str, status: str, **flags: Any) -> Markup:
    """Return a state as word, icon and color; flags as in `core.status_labels.lookup`."""
    return _state(noun, status, tuple(sorted(flags.items())), i18n.locale())


@lru_cache(maxsize=2048)
def _state(noun: str, status: str, flags: tuple[tuple[str, Any], ...], _locale: str) -> Markup:
    found = status_labels.lookup(noun, status, **dict(flags))
    classes = " ".join(part for part in ("state", found.voice, "call" if found.call else "") if part)
    icon = icon_tag(found.icon, "flip" if found.icon == "end" else "")
    return Markup('<span class="{}">{}{}</span>').format(classes, icon, str(found.word))


def mark_tag(business: Any) -> Markup:
    """Return a business's logo, else its first letter on its color.

    `business`: object or dict with name, logo_url and accent (or brand.accent); None for a business that is not accepted yet.
    """
    if business is None:
        return Markup('<svg class="mark" aria-hidden="true"><use href="#m-unknown"/></svg>')
    logo = _of(business, "logo_url")
    if logo:
        return Markup('<img class="mark" src="{}" alt="" width="36" height="36" decoding="async">').format(logo)
    name = str(_of(business, "name") or "?").strip() or "?"
    brand = _of(business, "brand")
    return _monogram(name[0].upper(), parse_color(_of(business, "accent")) or parse_color(_of(brand, "accent")) or _color_of(name))


@lru_cache(maxsize=2048)
def _monogram(message: str, accent: tuple[int, int, int]) -> Markup:
    return Markup(
        '<svg class="mark" viewBox="0 0 36 36" aria-hidden="true"><rect width="36" height="36" fill="{}"/>'
        '<text x="18" y="25" text-anchor="middle" font-size="20" font-weight="650" fill="{}">{}</text></svg>'
    ).format(to_hex(accent), to_hex(text_color_on(accent)), message)


def _of(thing: Any, name: str) -> Any:
    return None if thing is None else thing.get(name) if isinstance(thing, dict) else getattr(thing, name, None)


def _color_of(name: str) -> tuple[int, int, int]:
    """Return a fixed muted color for a name."""
    palette = ("#12506b", "#2c6e49", "#5a2e14", "#58399a", "#7a4b00", "#1f4d7a", "#8a2f4b", "#3d5a2a")
    return parse_color(palette[sum(name.encode()) % len(palette)]) or (0, 0, 0)


def turned_clock() -> dt.datetime | None:
    """Return billing time if it differs from real time (a test deployment), else None."""
    return clock.now() if clock.offset() else None


def init(app: Flask) -> None:
    app.context_processor(context)
    app.jinja_env.globals.update(
        here=here,
        exists_here=exists_here,
        fmt=LocalProxy(formatter),
        amount_tag=amount_tag,
        date_tag=date_tag,
        icon_tag=icon_tag,
        state_tag=state_tag,
        mark_tag=mark_tag,
        ruler_days=charts.ruler_days,
        strip_bars=charts.strip_bars,
        turned_clock=turned_clock,
        statement_links=list,  # none, until portal/statements brings its pages
        legal_links=list,  # none, until portal/legal brings its pages
    )


def context() -> dict[str, Any]:
    """Return the context for base.html. Must be fast, because it runs for every template."""
    door, locale = current_door(), i18n.locale()
    return {
        "services": services(),
        "door": door,
        "visitor": g.get("visitor"),
        "lang": i18n.html_lang(locale),
        "direction": i18n.direction(locale),
        "csp_nonce": LocalProxy(csp_nonce),
        "brand_style": Markup(brand_css(door.brand)) if door.brand is not None else "",  # noqa: S704
        "navigation": navigation,
        "account_links": account_links,
        "languages": languages,
        "zone_words": zone_words,
        "is_operator": is_operator,
        "scheme": scheme_of(door.brand),
    }


def navigation() -> list[tuple[str, str, str]]:
    """Return (URL, label, aria-current or "") of the main pages of this door."""
    labels = {
        "Overview": _("Overview"),
        "Subscriptions": _("Subscriptions"),
        "Purchases": _("Purchases"),
        "Billing history": _("Billing history"),
        "Payment methods": _("Payment methods"),
        "License keys": _("License keys"),
    }
    out = []
    for label, names in _MAIN:
        name = next((item for item in names if exists_here(item)), None)
        if name:
            address = here(name)
            out.append((address, labels[label], _current(address, is_home=label == "Overview")))
    return out


def account_links() -> list[tuple[str, str]]:
    labels = {
        "Profile and addresses": _("Profile and addresses"),
        "Activity": _("Activity"),
        "Where you are signed in": _("Where you are signed in"),
        "Export my records": _("Export my records"),
    }
    found = ((label, next((item for item in names if exists_here(item)), None)) for label, names in _ACCOUNT)
    return [(here(name), labels[label]) for label, name in found if name]


def languages() -> list[tuple[str, str, bool]]:
    """Return (locale, own name, whether it is the current one) of the offered languages; empty if there is only one."""
    names = i18n.offered()
    now = i18n.locale()
    return [(name, i18n.own_name(name), name == now) for name in names] if len(names) > 1 else []


def zone_words() -> str:
    fmt = formatter()
    if fmt.zone in ("UTC", "Etc/UTC"):
        return _("Times are in UTC.")
    return _("Times are in %(city)s time.", city=i18n.zone_city(fmt.zone, fmt.locale))


def _current(address: str, is_home: bool) -> str:
    path, here_path = address.split("?")[0].rstrip("/"), request.path.rstrip("/")
    if path == here_path:
        return "page"
    return "true" if not is_home and here_path.startswith(path + "/") else ""
