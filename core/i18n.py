"""Which language, which zone. Locale: cookie `lang` (the visitor's explicit choice) → the visitor's profile → Accept-Language → en.

At a business's door only its own languages count, and its default stands in the place of English. See `core/languages.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from zoneinfo import ZoneInfo, available_timezones

from babel import Locale
from babel.dates import get_timezone_location
from flask import Flask, current_app, g, has_request_context, redirect, request
from flask.typing import ResponseReturnValue
from flask_babel import Babel, force_locale, get_locale

from core.languages import TRANSLATIONS, among, best_locale, known, own_name, supported
from core.security import safe_next
from core.settings import Settings

__all__ = ["COOKIE", "best_locale", "chosen_locale", "chosen_zone", "direction", "html_lang", "in_application", "init", "known", "locale",
           "offered", "own_name", "speaking", "supported", "zone_city"]  # fmt: skip

COOKIE = "lang"
_YEAR = 365 * 24 * 3600
_speaker: Flask | None = None  # any application will do: catalogues are the same in all of them


def init(app: Flask, settings: Settings) -> None:
    """Wire Flask-Babel and `POST /language`."""
    global _speaker
    app.config.setdefault("BABEL_TRANSLATION_DIRECTORIES", str(TRANSLATIONS))
    Babel(app, locale_selector=chosen_locale, timezone_selector=chosen_zone, default_locale="en", default_timezone="UTC")
    app.add_url_rule("/language", "language", _remember_language, methods=["POST"])
    _speaker = app


def chosen_locale() -> str:
    """The locale of this request; English outside of one."""
    if not has_request_context():
        return "en"
    theirs, visitor = _host(), g.get("visitor")
    wishes = [request.cookies.get(COOKIE), getattr(visitor, "locale", None), *(tag for tag, _quality in request.accept_languages)]
    return best_locale(wishes, getattr(theirs, "languages", ())) or best_locale([getattr(theirs, "locale", None)]) or "en"


def offered() -> tuple[str, ...]:
    """The languages one may choose from here: a business's own at its door, all of them elsewhere."""
    return among(getattr(_host(), "languages", ())) if has_request_context() else supported()


def _host() -> object:
    """The business whose door its customers came through; None at every other door, the console's among them."""
    door = g.get("door")
    return door.business if door is not None and door.kind in ("business", "auth") else None


def chosen_zone() -> str:
    """IANA zone of the visitor, of the business whose door it is, or UTC."""
    for place in (g.get("visitor"), getattr(g.get("door"), "business", None)):
        zone = getattr(place, "zone", None)
        if isinstance(zone, str) and zone in _zones():
            return zone
    return "UTC"


def zones() -> list[str]:
    """IANA time zones that people choose from, by name."""
    return sorted(one for one in _zones() if "/" in one and not one.startswith(("Etc/", "posix/", "right/"))) + ["UTC"]


@lru_cache(maxsize=1)
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())


def locale() -> str:
    """The current locale's name: `de`, `pt_BR`. Within `speaking`, that one."""
    return str(get_locale() or "en")


def html_lang(name: str) -> str:
    return name.replace("_", "-")


@lru_cache(maxsize=128)
def direction(name: str) -> str:
    """`ltr` or `rtl`."""
    return Locale.parse(name).text_direction if known(name) else "ltr"


@lru_cache(maxsize=1024)
def zone_city(zone: str, in_locale: str) -> str:
    """`Europe/London` → `London`; UTC stays UTC."""
    if zone in ("UTC", "Etc/UTC"):
        return "UTC"
    return str(get_timezone_location(ZoneInfo(zone), locale=Locale.parse(in_locale), return_city=True))


@contextmanager
def in_application() -> Iterator[Flask]:
    """An application context where there is none: the worker has words and letters to make too."""
    if current_app:
        yield current_app._get_current_object()  # type: ignore[attr-defined]
        return
    if _speaker is None:
        raise RuntimeError("no application yet: create_app() registers the languages")
    with _speaker.app_context():
        yield _speaker


@contextmanager
def speaking(name: str | None) -> Iterator[str]:
    """Within, `_()` speaks this locale; an unknown one falls back to English. Works in the worker, outside of requests."""
    use = best_locale([name]) or "en"
    with in_application(), force_locale(use):
        yield use


def _remember_language() -> ResponseReturnValue:
    """`lang` from the footer's form → cookie, back to where one was."""
    answer = redirect(safe_next(request.form.get("next")), 303)
    name = best_locale([request.form.get("lang")])
    if name:
        secure = current_app.extensions["portal"].settings.is_https
        answer.set_cookie(COOKIE, name, max_age=_YEAR, samesite="Lax", secure=secure, httponly=True)
    return answer
