"""Finds additional fonts in installed packages and loads them only for documents that need them.

`manimgx-fonts` has Noto Sans for 20 more scripts and Noto Emoji. `noto-cjk-sans-jp-regular` has all of Noto Sans CJK. Both are under the
SIL Open Font License 1.1, whose text is in the packages. The fonts of this folder take precedence, so that documents which need no
other font always print the same.
"""

from __future__ import annotations

from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

PACKAGES = ("manimgx_fonts", "noto_cjk_sans_jp_regular")


def has_character(character: str) -> bool:
    return any(ord(character) in coverage(package) for package in PACKAGES)


def folders_for(text: str, bundled: frozenset[int]) -> list[str]:
    """Return the font folders to load for the characters of `text` that are not among the `bundled` code points."""
    missing = {ord(character) for character in text} - bundled
    out = []
    for package in PACKAGES:
        if missing and missing & coverage(package):
            out.append(str(_folder(package)))
            missing -= coverage(package)
    return out


@lru_cache(maxsize=len(PACKAGES))
def coverage(package: str) -> frozenset[int]:
    """Return the code points for which the fonts of a package have a glyph."""
    from fontTools.ttLib import TTFont  # slow to import and rarely needed

    folder = _folder(package)
    files = sorted(folder.glob("*.[ot]tf")) if folder else []
    return frozenset(code for file in files for code in TTFont(file, lazy=True).getBestCmap())


def _folder(package: str) -> Path | None:
    found = find_spec(package)
    return Path(found.origin).parent if found and found.origin else None
