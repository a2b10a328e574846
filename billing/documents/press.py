"""Runs typst in a process of its own, once per document, killed after TIMEOUT seconds.

Why a process each time: typst holds the interpreter lock and cannot be interrupted from Python, so a document that takes
too long could otherwise stop a whole worker; killing a process always works, and nothing of one customer's document is in
memory when the next is set. It costs about 60 ms, mostly Python starting; a pool would save 50 and would need care for
forks, restarts and leftovers. Documents are rendered once, after issue, and kept.
"""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

TIMEOUT = 10.0  # seconds
STANDARDS = ["a-3a", "ua-1"]
REFUSED = 3  # the typesetter's exit code for it
_log = logging.getLogger(__name__)
_TYPESETTER = Path(__file__).with_name("typesetter.py")


class Unprintable(RuntimeError):
    """The document could not be set: typst refused it even without a PDF standard, or ran out of time."""


class _Refused(Unprintable):
    """typst's own answer, as opposed to a time-out or a crash."""


def typeset(data: dict[str, Any], timestamp: int) -> bytes:
    """PDF/A-3a + PDF/UA-1 bytes of `data` (see figures.printed), dated `timestamp` (Unix seconds). Raises Unprintable.

    If typst refuses the standards (a letter combination our fonts cannot form), the document is set again without
    them: an invoice with a hollow letter is worth more than none.
    """
    try:
        return _run(data, timestamp, STANDARDS)
    except _Refused as error:
        _log.warning("set without PDF/A: %s", error)
        return _run(data, timestamp, [])


def _run(data: dict[str, Any], timestamp: int, standards: list[str]) -> bytes:
    order = json.dumps({"data": data, "timestamp": timestamp, "standards": standards}).encode()
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
