"""Which language, which zone. Locale: cookie `lang` (the visitor's explicit choice) → the visitor's profile → Accept-Language → en.

Supported are English, the source language, and every folder `translations/<locale>/LC_MESSAGES`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from zoneinfo import ZoneInfo, available_timezones

from babel import Locale, UnknownLocaleError
from babel.dates import get_timezone_location
from flask import Flask, current_app, g, has_request_context, redirect, request
from flask.typing import ResponseReturnValue
from flask_babel import Babel, force_locale, get_locale

from core.security import safe_next
from core.settings import Settings

TRANSLATIONS = Path(__file__).resolve().parent.parent / "translations"
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


@lru_cache(maxsize=1)
def supported() -> tuple[str, ...]:
    """CLDR names with `_`, English first."""
    found = sorted(folder.parent.name for folder in TRANSLATIONS.glob("*/LC_MESSAGES") if known(folder.parent.name))
    return ("en", *(name for name in found if name != "en"))


@lru_cache(maxsize=512)
def known(name: str) -> bool:
    try:
        Locale.parse(name.replace("-", "_"))
    except (UnknownLocaleError, ValueError, TypeError):
        return False
    return True


def best_locale(wanted: Iterable[str | None]) -> str | None:
    """The first of the wanted names (`de-CH`, `pt_BR`, anything) that we have, or have in its language; None when none fits.

    A reader of another Portuguese than ours is better served by it than by their second language: `pt`, `pt-PT` → `pt_BR`.
    """
    exact = {name.lower(): name for name in supported()}
    kin = {name.partition("_")[0]: name for name in reversed(supported())}
    names = [name.replace("-", "_").lower() for name in wanted if name and len(name) <= 35]
    return next((found for name in names if (found := exact.get(name) or kin.get(name.partition("_")[0]))), None)


def chosen_locale() -> str:
    """The locale of this request; English outside of one."""
    if not has_request_context():
        return "en"
    visitor = g.get("visitor")
    return (
        best_locale([request.cookies.get(COOKIE)])
        or best_locale([getattr(visitor, "locale", None)])
        or best_locale(tag for tag, _quality in request.accept_languages)
        or "en"
    )


def chosen_zone() -> str:
    """IANA zone of the visitor, of the business whose door it is, or UTC."""
    for place in (g.get("visitor"), getattr(g.get("door"), "business", None)):
        zone = getattr(place, "zone", None)
        if isinstance(zone, str) and zone in _zones():
            return zone
    return "UTC"


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


@lru_cache(maxsize=128)
def own_name(name: str) -> str:
    """A language in its own words: `Deutsch`, `العربية`."""
    words = Locale.parse(name).get_display_name(name) or name
    return words[:1].upper() + words[1:]


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
