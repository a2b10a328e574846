"""Runs typst in a separate process for each document, and kills it after TIMEOUT seconds.

typst holds the interpreter lock and cannot be interrupted from Python, so a slow document could stop a whole worker. A process can always
be killed, and no data of one customer's document is in memory when the next is typeset. Each process costs about 60 ms, mostly Python
starting. A pool would save 50 ms, but would need handling of forks, restarts and leftover processes. Documents are rendered once and
stored.
"""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

from billing.documents.fonts import folders_for
from billing.documents.printable_text import bundled_code_points, in_latin

TIMEOUT = 10.0  # seconds
STANDARDS = ["a-3a", "ua-1"]
REFUSED = 3  # exit code of the typesetter if typst refuses the document
COMBINATIONS = 30  # unprintable character combinations that a document may have
_MISSING = re.compile(r'the text `"(.+?)"` could not be displayed')
Template = Literal["document", "statement"]
_log = logging.getLogger(__name__)
_TYPESETTER = Path(__file__).with_name("typesetter.py")


class Unprintable(RuntimeError):
    """The document could not be typeset: typst refused it even without a PDF standard, or took too long."""


class _Refused(Unprintable):
    """typst refused the document, as opposed to a timeout or a crash."""


def typeset(data: dict[str, Any], timestamp: int, *, template: Template = "document") -> bytes:
    """Return `data` (see view_model.printed) as PDF/A-3a and PDF/UA-1, dated `timestamp` (Unix seconds). Raises Unprintable.

    A combination of characters that the fonts cannot draw is transliterated in brackets. If typst refuses the standards for another
    reason, the document is typeset without them, because an invoice without PDF/A is better than none.
    """
    for _ in range(COMBINATIONS):
        try:
            return _run(template, data, timestamp, STANDARDS)
        except _Refused as error:
            found = _MISSING.search(str(error))
            if found is None:
                _log.warning("document typeset without PDF/A: %s", error)
                return _run(template, data, timestamp, [])
            data = _without(data, _unescaped(found[1]))
    raise Unprintable("too many character combinations that no font can draw")


def _without(data: Any, characters: str) -> Any:
    """Return the data with `characters`, which no font can draw, transliterated everywhere."""
    if isinstance(data, dict):
        return {name: _without(value, characters) for name, value in data.items()}
    if isinstance(data, list):
        return [_without(value, characters) for value in data]
    return data.replace(characters, in_latin(characters)) if isinstance(data, str) and characters else data


def _unescaped(text: str) -> str:
    """Undo Rust's string escapes."""
    return re.sub(r"\\(?:u\{([0-9a-fA-F]+)\}|(.))", lambda found: chr(int(found[1], 16)) if found[1] else found[2], text)


def _run(template: Template, data: dict[str, Any], timestamp: int, standards: list[str]) -> bytes:
    fonts = folders_for(json.dumps(data, ensure_ascii=False), bundled_code_points())
    request = json.dumps({"template": template, "data": data, "timestamp": timestamp, "standards": standards, "fonts": fonts}).encode()
    command = [sys.executable, "-I", str(_TYPESETTER)]
    try:
        done = subprocess.run(command, input=request, capture_output=True, timeout=TIMEOUT, check=False)  # noqa: S603 - our own script
    except subprocess.TimeoutExpired as error:
        raise Unprintable(f"not set within {TIMEOUT:g} s") from error
    if done.returncode == REFUSED:
        raise _Refused(done.stderr.decode("utf-8", "replace")[-500:])
    if done.returncode or not done.stdout.startswith(b"%PDF"):
        raise Unprintable(done.stderr.decode("utf-8", "replace")[-500:] or f"typesetter ended with {done.returncode}")
    return done.stdout
