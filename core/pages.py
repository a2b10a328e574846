"""What every template may use: words of the reader's language, the door's links, small tags written in Python for speed.

Globals (also inside macros): here, exists_here, fmt, amount_tag, date_tag, state_tag, mark_tag, ruler_days, strip_bars.
Context: house, door, visitor, csp_nonce, brand_style, navigation, account_links, languages, lang, direction, zone_words.
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

from core import charts, clock, i18n, states
from core import format as formatting
from core.brand import brand_css, parse_colour, scheme_of, words_on, written
from core.web import exists_here, here, house, is_operator, the_door

# label → the endpoint, by the first name that exists at this door
_MAIN = (
    ("Overview", ("home", "overview")), ("Subscriptions", ("subscriptions",)), ("Purchases", ("purchases",)),
    ("Billing history", ("billing_history", "invoices")), ("Payment methods", ("payment_methods",)),
    ("Licence keys", ("license_keys", "licences")),
)
_ACCOUNT = (("Profile and addresses", ("profile",)), ("Activity", ("activity",)),
            ("Where you are signed in", ("sessions",)), ("Export my records", ("export",)))


class Words:
    """Money and dates in one locale and zone: `fmt.money(2900, "EUR")`, `fmt.date(moment, "line")`."""

    def __init__(self, locale: str, zone: str = "UTC") -> None:
        self.locale, self.zone = locale, zone

    def money(self, minor: int, currency: str) -> str:
        return formatting.money(minor, currency, self.locale)

    def date(self, moment: dt.datetime | dt.date, style: str = "table") -> str:
        return formatting.date_words(moment, self.locale, self.zone, style)

    def last_day(self, end: dt.datetime, style: str = "table") -> str:
        """The last day of a period that ends, exclusively, at `end`."""
        return formatting.date_words(self.local_date(end) - dt.timedelta(days=1), self.locale, self.zone, style)

    def short(self, day: dt.date) -> str:
        """`6 Dec`, for the ruler only."""
        return format_skeleton("MMMd", day, locale="en_GB" if self.locale == "en" else self.locale)

    def local_date(self, moment: dt.datetime | dt.date) -> dt.date:
        return formatting.local_date(moment, self.zone)

    def percent(self, basis_points: int) -> str:
        return formatting.percent(basis_points, self.locale)

    def count(self, number: int) -> str:
        return formatting.count(number, self.locale)

    def today(self) -> dt.date:
        return formatting.local_date(clock.now(), self.zone)


def words() -> Words:
    """The reader's, found once per request."""
    found: Words | None = g.get("words")
    if found is None:
        found = g.words = Words(i18n.locale(), i18n.chosen_zone())
    return found


def amount_tag(minor: int, currency: str) -> Markup:
    """An amount that stays in one piece, also in right-to-left sentences."""
    return Markup('<span class="amt">{}</span>').format(words().money(minor, currency))


def date_tag(moment: dt.datetime | dt.date | None, style: str = "table") -> Markup:
    """`<time datetime>` with the day (or, for style "moment", the minute) in words; nothing for None."""
    if moment is None:
        return Markup("")
    spoken = words()
    if style == "moment" and isinstance(moment, dt.datetime):
        machine = moment.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%MZ")
    else:
        machine = spoken.local_date(moment).isoformat()
    return Markup('<time datetime="{}">{}</time>').format(machine, spoken.date(moment, style))


def icon_tag(name: str, classes: str = "") -> Markup:
    return Markup('<svg class="icon{}" aria-hidden="true"><use href="#i-{}"/></svg>').format(" " + classes if classes else "", name)


def state_tag(noun: str, status: str, **flags: Any) -> Markup:
    """A state as word, icon and colour; flags as in `core.states.lookup`."""
    return _state(noun, status, tuple(sorted(flags.items())), i18n.locale())


@lru_cache(maxsize=2048)
def _state(noun: str, status: str, flags: tuple[tuple[str, Any], ...], _locale: str) -> Markup:
    found = states.lookup(noun, status, **dict(flags))
    classes = " ".join(part for part in ("state", found.voice, "call" if found.call else "") if part)
    icon = icon_tag(found.icon, "flip" if found.icon == "end" else "")
    return Markup('<span class="{}">{}{}</span>').format(classes, icon, str(found.word))


def mark_tag(business: Any) -> Markup:
    """A business's mark: its logo, else its first letter on its colour. `business`: object or dict with name, logo_url, accent
    (or brand.accent); None draws the dashed square of somebody not accepted yet."""
    if business is None:
        return Markup('<svg class="mark" aria-hidden="true"><use href="#m-unknown"/></svg>')
    logo = _of(business, "logo_url")
    if logo:
        return Markup('<img class="mark" src="{}" alt="" width="36" height="36" decoding="async">').format(logo)
    name = str(_of(business, "name") or "?").strip() or "?"
    brand = _of(business, "brand")
    return _monogram(name[0].upper(), parse_colour(_of(business, "accent")) or parse_colour(_of(brand, "accent")) or _colour_of(name))


@lru_cache(maxsize=2048)
def _monogram(letter: str, accent: tuple[int, int, int]) -> Markup:
    return Markup(
        '<svg class="mark" viewBox="0 0 36 36" aria-hidden="true"><rect width="36" height="36" fill="{}"/>'
        '<text x="18" y="25" text-anchor="middle" font-size="20" font-weight="650" fill="{}">{}</text></svg>'
    ).format(written(accent), written(words_on(accent)), letter)


def _of(thing: Any, name: str) -> Any:
    return None if thing is None else thing.get(name) if isinstance(thing, dict) else getattr(thing, name, None)


def _colour_of(name: str) -> tuple[int, int, int]:
    """A quiet colour that stays the same for a name."""
    palette = ("#12506b", "#2c6e49", "#5a2e14", "#58399a", "#7a4b00", "#1f4d7a", "#8a2f4b", "#3d5a2a")
    return parse_colour(palette[sum(name.encode()) % len(palette)]) or (0, 0, 0)


def turned_clock() -> dt.datetime | None:
    """Billing time, where it is not real time (a test deployment whose clock was turned)."""
    return clock.now() if clock.offset() else None


def init(app: Flask) -> None:
    app.context_processor(context)
    app.jinja_env.globals.update(
        here=here, exists_here=exists_here, fmt=LocalProxy(words), amount_tag=amount_tag, date_tag=date_tag, icon_tag=icon_tag,
        state_tag=state_tag, mark_tag=mark_tag, ruler_days=charts.ruler_days, strip_bars=charts.strip_bars, turned_clock=turned_clock,
    )


def context() -> dict[str, Any]:
    """For base.html; cheap, for it runs before every template of a request."""
    from core.security import csp_nonce

    door, locale = the_door(), i18n.locale()
    return {
        "house": house(), "door": door, "visitor": g.get("visitor"), "lang": i18n.html_lang(locale), "direction": i18n.direction(locale),
        "csp_nonce": LocalProxy(csp_nonce), "brand_style": Markup(brand_css(door.brand)) if door.brand is not None else "",  # noqa: S704
        "navigation": navigation, "account_links": account_links, "languages": languages, "zone_words": zone_words,
        "is_operator": is_operator, "scheme": scheme_of(door.brand),
    }


def navigation() -> list[tuple[str, str, str]]:
    """(address, label, aria-current or "") of the main pages this door has."""
    labels = {"Overview": _("Overview"), "Subscriptions": _("Subscriptions"), "Purchases": _("Purchases"),
              "Billing history": _("Billing history"), "Payment methods": _("Payment methods"), "Licence keys": _("Licence keys")}
    out = []
    for label, names in _MAIN:
        name = next((one for one in names if exists_here(one)), None)
        if name:
            address = here(name)
            out.append((address, labels[label], _current(address, is_home=label == "Overview")))
    return out


def account_links() -> list[tuple[str, str]]:
    labels = {"Profile and addresses": _("Profile and addresses"), "Activity": _("Activity"),
              "Where you are signed in": _("Where you are signed in"),
              "Export my records": _("Export my records")}
    found = ((label, next((one for one in names if exists_here(one)), None)) for label, names in _ACCOUNT)
    return [(here(name), labels[label]) for label, name in found if name]


def languages() -> list[tuple[str, str, bool]]:
    """(name, its own words, is it the current one) of this door's; empty when there is only one."""
    names = i18n.offered()
    now = i18n.locale()
    return [(name, i18n.own_name(name), name == now) for name in names] if len(names) > 1 else []


def zone_words() -> str:
    spoken = words()
    return _("Times are %(city)s time.", city=i18n.zone_city(spoken.zone, spoken.locale))


def _current(address: str, is_home: bool) -> str:
    path, here_path = address.split("?")[0].rstrip("/"), request.path.rstrip("/")
    if path == here_path:
        return "page"
    return "true" if not is_home and here_path.startswith(path + "/") else ""
