"""A file of JSON Lines, plain or gzip, read one line at a time: `{"type": "customer", "data": {…}}` each."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from billing.loaded import Record
from core.errors import Invalid
from core.json_input import OutOfRange, read_json
from tenants.loading.shapes import record

LONGEST = 1024 * 1024  # bytes of one line


def read(path: Path, progress: Callable[[int], None]) -> Iterator[tuple[int, str]]:
    """(number from 1, text) of every line that is not empty. `progress` hears how many bytes of the file went by.

    Raises Invalid (a line that is too long, or no text; fields: line), OSError (no such file; a broken archive).
    """
    with path.open("rb") as raw:
        packed = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        source: IO[bytes] = gzip.open(raw) if packed else raw  # type: ignore[assignment]
        number, seen = 0, 0
        while line := source.readline(LONGEST + 1):
            number += 1
            at = raw.tell()
            progress(at - seen)
            seen = at
            if len(line) > LONGEST:
                raise Invalid(fields={f"line {number}": "It is longer than 1 MB."})
            try:
                text = line.decode()
            except UnicodeDecodeError:
                raise Invalid(fields={f"line {number}": "It is not UTF-8 text."}) from None
            if text.strip():
                yield number, text


def parsed(text: str) -> Record:
    """Raises Invalid (fields)."""
    try:
        said: Any = read_json(text)
    except OutOfRange as wrong:
        raise Invalid(fields={wrong.field or "line": "This number is out of range."}) from None
    except ValueError as wrong:
        words = {"NUL": "A NUL cannot be stored.", "a lone surrogate": "Half of a surrogate pair is not text."}
        raise Invalid(fields={"data" if str(wrong) in words else "line": words.get(str(wrong), "It is not JSON.")}) from None
    if not isinstance(said, dict) or "type" not in said:
        raise Invalid(fields={"type": 'A line is {"type": …, "data": {…}}.'})
    return record(said["type"], said.get("data"))
