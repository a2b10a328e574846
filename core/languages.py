"""Which languages there are, and which one somebody gets who wishes for others. No web in here.

There are English, the source language, and every folder `translations/<locale>/LC_MESSAGES`. A business may offer fewer: `offered`
below is its list, and an empty one means all of them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from functools import lru_cache
from pathlib import Path

from babel import Locale, UnknownLocaleError

TRANSLATIONS = Path(__file__).resolve().parent.parent / "translations"


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


@lru_cache(maxsize=128)
def own_name(name: str) -> str:
    """A language in its own words: `Deutsch`, `العربية`."""
    words = Locale.parse(name).get_display_name(name) or name
    return words[:1].upper() + words[1:]


def among(offered: Collection[str]) -> tuple[str, ...]:
    """Those of ours that are offered, in our order; all of them where none is."""
    return tuple(name for name in supported() if name in offered) or supported()


def best_locale(wanted: Iterable[str | None], offered: Collection[str] = ()) -> str | None:
    """The first of the wanted names (`de-CH`, `pt_BR`, anything) that is offered, or is in its language; None when none fits.

    A reader of another Portuguese than ours is better served by it than by their second language: `pt`, `pt-PT` → `pt_BR`.
    """
    ours = among(offered)
    exact = {name.lower(): name for name in ours}
    kin = {name.partition("_")[0]: name for name in reversed(ours)}
    names = [name.replace("-", "_").lower() for name in wanted if name and len(name) <= 35]
    return next((found for name in names if (found := exact.get(name) or kin.get(name.partition("_")[0]))), None)


def spoken(wished: Iterable[str | None], offered: Collection[str], default: str) -> str:
    """What somebody is written to in: the first of their wishes that is offered, in their own form of it (`de-CH`); else the default."""
    return next((one for one in wished if one and best_locale([one], offered)), default)
