"""The available languages, and the best one for a list of wishes. Independent of Flask.

The languages are English (the source) and every folder `translations/<locale>/LC_MESSAGES`. A business may offer fewer:
`offered` is its list, and an empty list means all languages.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from functools import lru_cache
from pathlib import Path

from babel import Locale, UnknownLocaleError

TRANSLATIONS = Path(__file__).resolve().parent.parent / "translations"


@lru_cache(maxsize=1)
def supported() -> tuple[str, ...]:
    """Return the CLDR names (with `_`), English first."""
    found = sorted(folder.parent.name for folder in TRANSLATIONS.glob("*/LC_MESSAGES") if known(folder.parent.name))
    return ("en", *(name for name in found if name != "en"))


@lru_cache(maxsize=512)
def known(name: str) -> bool:
    try:
        Locale.parse(name.replace("-", "_"))
    except (UnknownLocaleError, ValueError, TypeError):
        return False
    return True


@lru_cache(maxsize=128)
def own_name(name: str) -> str:
    """Return a language's name in that language: `Deutsch`, `العربية`."""
    words = Locale.parse(name).get_display_name(name) or name
    return words[:1].upper() + words[1:]


def among(offered: Collection[str]) -> tuple[str, ...]:
    """Return the supported languages that are offered; all of them if none is."""
    return tuple(name for name in supported() if name in offered) or supported()


def best_locale(wanted: Iterable[str | None], offered: Collection[str] = ()) -> str | None:
    """Return the offered language for the first wanted name (`de-CH`, `pt_BR`, any text) that fits; None if none does.

    A wish fits a variant of the same language: `pt` and `pt-PT` give `pt_BR`.
    """
    ours = among(offered)
    exact = {name.lower(): name for name in ours}
    kin = {name.partition("_")[0]: name for name in reversed(ours)}
    names = [name.replace("-", "_").lower() for name in wanted if name and len(name) <= 35]
    return next((found for name in names if (found := exact.get(name) or kin.get(name.partition("_")[0]))), None)


def spoken(wished: Iterable[str | None], offered: Collection[str], default: str) -> str:
    """Return the locale for emails: the first wish that is offered, with its own region (`de-CH`), else the default."""
    return next((item for item in wished if item and best_locale([item], offered)), default)
