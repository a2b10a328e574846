"""Reads a JSON Lines file, plain or gzip, line by line: `{"type": "customer", "data": {…}}`."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from billing.model.imported_records import Record
from core.errors import Invalid
from core.json_input import OutOfRange, read_json
from tenants.imports.ignored_fields import ignored, outside
from tenants.imports.shapes import record

MAX_LINE = 1024 * 1024  # bytes per line
MAX_BYTES = 20 * 1024**3  # bytes per file, unpacked
MAX_EMPTY, MAX_BLANK = 100_000, 64 * 1024**2  # consecutive empty lines, and blank bytes: a small archive may unpack to many
BOM = b"\xef\xbb\xbf"


def read(path: Path, progress: Callable[[int], None]) -> Iterator[tuple[int, str]]:
    """Yield (line number from 1, text) of every line that is not empty. `progress` is called with the number of bytes read.

    A byte order mark at the start is skipped. Raises Invalid (a line that is too long or not text, a truncated or damaged archive),
    OSError (the file cannot be opened).
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
            if len(line) > MAX_LINE:
                raise Invalid(fields={f"line {number}": "The line is longer than 1 MB."})
            if size > MAX_BYTES:
                raise Invalid(fields={f"line {number}": "The file is larger than 20 GB when unpacked. Split it."})
            content = (line.removeprefix(BOM) if number == 1 else line).strip()
            empty, blank = 0 if content else empty + 1, blank + len(line) - len(content)
            if empty > MAX_EMPTY or blank > MAX_BLANK:
                raise Invalid(fields={f"line {number}": "There are too many empty lines or spaces before this line. Remove them."})
            if not content:
                continue
            try:
                yield number, content.decode()
            except UnicodeDecodeError:
                raise Invalid(fields={f"line {number}": "The line is not UTF-8 text."}) from None


def _next(source: IO[bytes], number: int) -> bytes:
    try:
        return source.readline(MAX_LINE + 1)
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise Invalid(fields={f"line {number}": "The gzip archive is truncated or damaged here. Create or copy it again."}) from None


def parsed(text: str) -> Record:
    """Return the record of a line. Raises Invalid (fields)."""
    line = _line(text)
    return record(line["type"], line.get("data"))


def parsed_with_ignored(text: str) -> tuple[Record, set[str]]:
    """Return the record and the names of ignored fields, such as `subscription.color`. Raises Invalid (fields)."""
    line = _line(text)
    row = record(line["type"], line.get("data"))
    return row, outside(line) | {f"{row.kind}.{name}" for name in ignored(line["type"], line.get("data"))}


def _line(text: str) -> dict[str, Any]:
    try:
        line: Any = read_json(text)
    except OutOfRange as wrong:
        raise Invalid(fields={wrong.field or "line": "This number is out of range."}) from None
    except ValueError as wrong:
        messages = {"NUL": "NUL characters are not allowed.", "a lone surrogate": "A lone surrogate is not valid text."}
        raise Invalid(
            fields={"data" if str(wrong) in messages else "line": messages.get(str(wrong), "The line is not valid JSON.")}
        ) from None
    if not isinstance(line, dict) or "type" not in line:
        raise Invalid(fields={"type": 'Each line must be {"type": …, "data": {…}}.'})
    return line
