"""Choose the language and time zone of a request.

The locale comes from the cookie `lang`, the visitor's profile, Accept-Language, then English. At a business's door only its
languages are used, and its default instead of English. See `core/languages.py`.
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
_speaker: Flask | None = None  # any application: all have the same catalogs


def init(app: Flask, settings: Settings) -> None:
    """Wire Flask-Babel and `POST /language`."""
    global _speaker
    app.config.setdefault("BABEL_TRANSLATION_DIRECTORIES", str(TRANSLATIONS))
    Babel(app, locale_selector=chosen_locale, timezone_selector=chosen_zone, default_locale="en", default_timezone="UTC")
    app.add_url_rule("/language", "language", _remember_language, methods=["POST"])
    _speaker = app


def chosen_locale() -> str:
    """Return the locale of this request; English outside a request."""
    if not has_request_context():
        return "en"
    host, visitor = _host(), g.get("visitor")
    wanted = [request.cookies.get(COOKIE), getattr(visitor, "locale", None), *(tag for tag, _quality in request.accept_languages)]
    return best_locale(wanted, getattr(host, "languages", ())) or best_locale([getattr(host, "locale", None)]) or "en"


def offered() -> tuple[str, ...]:
    """Return the languages to choose from: those of the business at its door, else all."""
    return among(getattr(_host(), "languages", ())) if has_request_context() else supported()


def _host() -> object:
    """Return the business at a business's or sign-in door; None at other doors."""
    door = g.get("door")
    return door.business if door is not None and door.kind in ("business", "auth") else None


def chosen_zone() -> str:
    """Return the IANA zone of the visitor, else of the door's business, else UTC."""
    for place in (g.get("visitor"), getattr(g.get("door"), "business", None)):
        zone = getattr(place, "zone", None)
        if isinstance(zone, str) and zone in _zones():
            return zone
    return "UTC"


def zones() -> list[str]:
    """Return the IANA time zones to choose from, sorted by name."""
    return sorted(zone for zone in _zones() if "/" in zone and not zone.startswith(("Etc/", "posix/", "right/"))) + ["UTC"]


@lru_cache(maxsize=1)
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())


def locale() -> str:
    """Return the current locale's name, such as `de` or `pt_BR`. Within `speaking`, its locale."""
    return str(get_locale() or "en")


def html_lang(name: str) -> str:
    return name.replace("_", "-")


@lru_cache(maxsize=128)
def direction(name: str) -> str:
    """Return `ltr` or `rtl`."""
    return Locale.parse(name).text_direction if known(name) else "ltr"


@lru_cache(maxsize=1024)
def zone_city(zone: str, in_locale: str) -> str:
    """Return the city of a zone, `Europe/London` → `London`; UTC for UTC."""
    if zone in ("UTC", "Etc/UTC"):
        return "UTC"
    return str(get_timezone_location(ZoneInfo(zone), locale=Locale.parse(in_locale), return_city=True))


@contextmanager
def in_application() -> Iterator[Flask]:
    """Provide an application context if there is none, so that the worker can translate and render emails."""
    if current_app:
        yield current_app._get_current_object()  # type: ignore[attr-defined]
        return
    if _speaker is None:
        raise RuntimeError("no application yet: create_app() registers the languages")
    with _speaker.app_context():
        yield _speaker


@contextmanager
def speaking(name: str | None) -> Iterator[str]:
    """Translate to this locale within the context; English if it is unknown. Works outside requests."""
    use = best_locale([name]) or "en"
    with in_application(), force_locale(use):
        yield use


def _remember_language() -> ResponseReturnValue:
    """Store `lang` from the footer's form in a cookie and redirect back."""
    answer = redirect(safe_next(request.form.get("next")), 303)
    name = best_locale([request.form.get("lang")])
    if name:
        secure = current_app.extensions["portal"].settings.is_https
        answer.set_cookie(COOKIE, name, max_age=_YEAR, samesite="Lax", secure=secure, httponly=True)
    return answer
