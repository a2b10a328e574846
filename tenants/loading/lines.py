"""A file of JSON Lines, plain or gzip, read one line at a time: `{"type": "customer", "data": {…}}` each."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from billing.loaded import Record
from core.errors import Invalid
from core.json_input import OutOfRange, read_json
from tenants.loading.shapes import record

LONGEST = 1024 * 1024  # bytes of one line
MOST_BYTES = 20 * 1024**3  # of a file, unpacked
MOST_EMPTY, MOST_BLANK = 100_000, 64 * 1024**2  # lines in a row that say nothing, and bytes: packed they are small and take long
BOM = b"\xef\xbb\xbf"


def read(path: Path, progress: Callable[[int], None]) -> Iterator[tuple[int, str]]:
    """(number from 1, text) of every line that is not empty. `progress` hears how many bytes of the file went by.

    A byte order mark at the beginning is not part of the text. Raises Invalid (a line that is too long, or no text; an archive
    that is cut or broken; fields: line), OSError (no such file).
    """
    with path.open("rb") as raw:
        packed = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        source: IO[bytes] = gzip.open(raw) if packed else raw  # type: ignore[assignment]
        number = seen = size = empty = blank = 0
        while line := _next(source, number + 1):
            number, size = number + 1, size + len(line)
            if (at := raw.tell()) != seen:
                progress(at - seen)
                seen = at
            if len(line) > LONGEST:
                raise Invalid(fields={f"line {number}": "It is longer than 1 MB."})
            if size > MOST_BYTES:
                raise Invalid(fields={f"line {number}": "Unpacked, the file is larger than 20 GB. Split it."})
            content = (line.removeprefix(BOM) if number == 1 else line).strip()
            empty, blank = 0 if content else empty + 1, blank + len(line) - len(content)
            if empty > MOST_EMPTY or blank > MOST_BLANK:
                raise Invalid(fields={f"line {number}": "There are too many empty lines and spaces before it. Remove them."})
            if not content:
                continue
            try:
                yield number, content.decode()
            except UnicodeDecodeError:
                raise Invalid(fields={f"line {number}": "It is not UTF-8 text."}) from None


def _next(source: IO[bytes], number: int) -> bytes:
    try:
        return source.readline(LONGEST + 1)
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise Invalid(fields={f"line {number}": "The gzip archive is cut off or damaged here. Make or copy it again."}) from None


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
