"""Text from people, made printable: what remains is printed letter by letter, never read as markup."""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from functools import lru_cache
from itertools import groupby
from pathlib import Path

from anyascii import anyascii

from billing.documents.fonts import has_letter

# Joiners shape Persian and Indian names; a variation selector only picks a look, so it goes without a trace.
_JOINERS = frozenset("\u200c\u200d")
_UNSEEN = re.compile("[\ufe00-\ufe0f\U000e0100-\U000e01ef]")
# Nothing breaks inside such a run, so it would print across the next column.
_RUN = re.compile(r"([!-\u02ff]{30})(?=[!-\u02ff]{4})")
_RIGHT_TO_LEFT = frozenset({"R", "AL", "AN"})


@lru_cache(maxsize=1)
def _ranges() -> tuple[list[int], list[int]]:
    """Code points our fonts cover, as starts and ends of ranges (fonts/coverage.txt)."""
    lines = (Path(__file__).parent / "fonts" / "coverage.txt").read_text("ascii").split()
    pairs = [(first, last or first) for first, _, last in (line.partition("-") for line in lines)]
    return [int(first, 16) for first, _ in pairs], [int(last, 16) for _, last in pairs]


@lru_cache(maxsize=1)
def kept() -> frozenset[int]:
    """Code points that the fonts of this folder cover."""
    return frozenset(code for first, last in zip(*_ranges(), strict=True) for code in range(first, last + 1))


def _covered(letter: str) -> bool:
    starts, ends = _ranges()
    place = bisect_right(starts, ord(letter)) - 1
    return (place >= 0 and ord(letter) <= ends[place]) or has_letter(letter)


def _printable(letter: str) -> str | None:
    """The letter, a space, or nothing for what is not to be seen; None where no font has it."""
    kind = unicodedata.category(letter)
    if letter in _JOINERS or (kind not in ("Cc", "Cf", "Co", "Cn") and _covered(letter)):
        return letter
    if kind in ("Cc", "Zl", "Zp", "Zs"):
        return " "  # a stripped line break must not glue two words together
    return "" if kind in ("Cf", "Cs") else None  # Cf: bidi overrides, which could make a number read backwards


def in_latin(text: str) -> str:
    """Letters that no font draws, in Latin ones and brackets: seen to be a substitute, unlike an empty box. Without any, their numbers."""
    latin = " ".join(anyascii(text).split())
    return f"[{latin or ' '.join(f'U+{ord(letter):04X}' for letter in text)}]"


def _printed(text: str) -> str:
    out = []
    for is_missing, letters in groupby(text, key=lambda letter: _printable(letter) is None):
        run = "".join(letters)
        out.append(in_latin(run) if is_missing else "".join(_printable(letter) or "" for letter in run))
    return "".join(out)


def plain(text: str | None) -> str:
    """One line of printable text: no control or direction characters, single spaces, long runs breakable; letters that no font has in
    brackets, transliterated.

    A text with right-to-left letters is isolated, so that it cannot reorder what stands beside it.
    """
    composed = unicodedata.normalize("NFC", _UNSEEN.sub("", str(text or "")))
    line = " ".join(_printed(composed).split())
    line = _RUN.sub("\\1\u200b", line)
    return f"\u2068{line}\u2069" if any(unicodedata.bidirectional(letter) in _RIGHT_TO_LEFT for letter in line) else line
