"""Converts user text to printable text. The result is printed literally and never interpreted as markup."""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from functools import lru_cache
from itertools import groupby
from pathlib import Path

from anyascii import anyascii

from billing.documents.fonts import has_character

# Joiners are part of the spelling of Persian and Indian names. A variation selector only selects a glyph style, so it is removed.
_JOINERS = frozenset("\u200c\u200d")
_VARIATION_SELECTORS = re.compile("[\ufe00-\ufe0f\U000e0100-\U000e01ef]")
# Such a run has no line break opportunity, so it would print over the next column.
_RUN = re.compile(r"([!-\u02ff]{30})(?=[!-\u02ff]{4})")
_RIGHT_TO_LEFT = frozenset({"R", "AL", "AN"})


@lru_cache(maxsize=1)
def _ranges() -> tuple[list[int], list[int]]:
    """Return the code points that the bundled fonts cover, as starts and ends of ranges (fonts/coverage.txt)."""
    lines = (Path(__file__).parent / "fonts" / "coverage.txt").read_text("ascii").split()
    pairs = [(first, last or first) for first, _, last in (line.partition("-") for line in lines)]
    return [int(first, 16) for first, _ in pairs], [int(last, 16) for _, last in pairs]


@lru_cache(maxsize=1)
def bundled_code_points() -> frozenset[int]:
    """Return the code points that the fonts of this folder cover."""
    return frozenset(code for first, last in zip(*_ranges(), strict=True) for code in range(first, last + 1))


def _is_covered(character: str) -> bool:
    starts, ends = _ranges()
    place = bisect_right(starts, ord(character)) - 1
    return (place >= 0 and ord(character) <= ends[place]) or has_character(character)


def _printable(character: str) -> str | None:
    """Return the character, a space, or an empty string for invisible characters. None if no font has it."""
    kind = unicodedata.category(character)
    if character in _JOINERS or (kind not in ("Cc", "Cf", "Co", "Cn") and _is_covered(character)):
        return character
    if kind in ("Cc", "Zl", "Zp", "Zs"):
        return " "  # so that a removed line break does not join two words
    return "" if kind in ("Cf", "Cs") else None  # Cf: bidi overrides, which could make a number read backwards


def in_latin(text: str) -> str:
    """Return characters that no font has in Latin script in brackets, which show that they are a substitute.

    Without a transliteration, return their code points.
    """
    latin = " ".join(anyascii(text).split())
    return f"[{latin or ' '.join(f'U+{ord(character):04X}' for character in text)}]"


def _printed(text: str) -> str:
    out = []
    for is_missing, characters in groupby(text, key=lambda character: _printable(character) is None):
        run = "".join(characters)
        out.append(in_latin(run) if is_missing else "".join(_printable(character) or "" for character in run))
    return "".join(out)


def plain(text: str | None) -> str:
    """Return one line of printable text, without control and direction characters and with single spaces.

    Long runs get line break opportunities. Characters that no font has are transliterated in brackets. A text with right-to-left script
    is isolated, so that it cannot reorder the text around it.
    """
    composed = unicodedata.normalize("NFC", _VARIATION_SELECTORS.sub("", str(text or "")))
    line = " ".join(_printed(composed).split())
    line = _RUN.sub("\\1\u200b", line)
    return f"\u2068{line}\u2069" if any(unicodedata.bidirectional(character) in _RIGHT_TO_LEFT for character in line) else line
