"""Fonts beyond those kept in this folder: from packages, read and loaded only for a document that needs them.

`manimgx-fonts` has the Noto Sans of 20 more scripts and Noto Emoji, `noto-cjk-sans-jp-regular` all of Noto Sans CJK. Both are under the SIL
Open Font License 1.1, whose text the packages carry. A letter is looked for in the fonts of this folder first, so that documents which
need no more print as they always did.
"""

from __future__ import annotations

from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

PACKAGES = ("manimgx_fonts", "noto_cjk_sans_jp_regular")


def has_letter(letter: str) -> bool:
    return any(ord(letter) in coverage(package) for package in PACKAGES)


def folders_for(text: str, is_kept: frozenset[int]) -> list[str]:
    """The folders of fonts to load for what of `text` is not among the `is_kept` code points."""
    missing = {ord(letter) for letter in text} - is_kept
    out = []
    for package in PACKAGES:
        if missing and missing & coverage(package):
            out.append(str(_folder(package)))
            missing -= coverage(package)
    return out


@lru_cache(maxsize=len(PACKAGES))
def coverage(package: str) -> frozenset[int]:
    """The code points that a package's fonts have a glyph for."""
    from fontTools.ttLib import TTFont  # most processes never need it

    folder = _folder(package)
    files = sorted(folder.glob("*.[ot]tf")) if folder else []
    return frozenset(code for file in files for code in TTFont(file, lazy=True).getBestCmap())


def _folder(package: str) -> Path | None:
    found = find_spec(package)
    return Path(found.origin).parent if found and found.origin else None
