"""Runs typst in a process of its own, once per document, killed after TIMEOUT seconds.

Why a process each time: typst holds the interpreter lock and cannot be interrupted from Python, so a document that takes
too long could otherwise stop a whole worker; killing a process always works, and nothing of one customer's document is in
memory when the next is set. It costs about 60 ms, mostly Python starting; a pool would save 50 and would need care for
forks, restarts and leftovers. Documents are rendered once, after issue, and kept.
"""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from billing.documents.fonts import folders_for
from billing.documents.plain import in_latin, kept

TIMEOUT = 10.0  # seconds
STANDARDS = ["a-3a", "ua-1"]
REFUSED = 3  # the typesetter's exit code for it
COMBINATIONS = 30  # different ones that a document may have
_MISSING = re.compile(r'the text `"(.+?)"` could not be displayed')
_log = logging.getLogger(__name__)
_TYPESETTER = Path(__file__).with_name("typesetter.py")


class Unprintable(RuntimeError):
    """The document could not be set: typst refused it even without a PDF standard, or ran out of time."""


class _Refused(Unprintable):
    """typst's own answer, as opposed to a time-out or a crash."""


def typeset(data: dict[str, Any], timestamp: int) -> bytes:
    """PDF/A-3a + PDF/UA-1 bytes of `data` (see figures.printed), dated `timestamp` (Unix seconds). Raises Unprintable.

    A combination of letters that the fonts cannot form is transliterated, visibly. If typst refuses the standards for another reason,
    the document is set without them: an invoice that is not for archives is worth more than none.
    """
    for _ in range(COMBINATIONS):
        try:
            return _run(data, timestamp, STANDARDS)
        except _Refused as error:
            found = _MISSING.search(str(error))
            if found is None:
                _log.warning("set without PDF/A: %s", error)
                return _run(data, timestamp, [])
            data = _without(data, _unescaped(found[1]))
    raise Unprintable("too many combinations of letters that no font forms")


def _without(data: Any, letters: str) -> Any:
    """Everywhere in the data: what cannot be drawn in Latin letters."""
    if isinstance(data, dict):
        return {name: _without(value, letters) for name, value in data.items()}
    if isinstance(data, list):
        return [_without(value, letters) for value in data]
    return data.replace(letters, in_latin(letters)) if isinstance(data, str) and letters else data


def _unescaped(text: str) -> str:
    """Rust's way to quote a string."""
    return re.sub(r"\\(?:u\{([0-9a-fA-F]+)\}|(.))", lambda found: chr(int(found[1], 16)) if found[1] else found[2], text)


def _run(data: dict[str, Any], timestamp: int, standards: list[str]) -> bytes:
    fonts = folders_for(json.dumps(data, ensure_ascii=False), kept())
    order = json.dumps({"data": data, "timestamp": timestamp, "standards": standards, "fonts": fonts}).encode()
    command = [sys.executable, "-I", str(_TYPESETTER)]
    try:
        done = subprocess.run(command, input=order, capture_output=True, timeout=TIMEOUT, check=False)  # noqa: S603 - our own script
    except subprocess.TimeoutExpired as error:
        raise Unprintable(f"not set within {TIMEOUT:g} s") from error
    if done.returncode == REFUSED:
        raise _Refused(done.stderr.decode("utf-8", "replace")[-500:])
    if done.returncode or not done.stdout.startswith(b"%PDF"):
        raise Unprintable(done.stderr.decode("utf-8", "replace")[-500:] or f"typesetter ended with {done.returncode}")
    return done.stdout
