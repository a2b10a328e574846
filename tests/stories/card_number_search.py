"""Search everything that is stored, shown or sent for card numbers."""

from __future__ import annotations

import base64
import email
import email.policy
import io
import json
import re
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from functools import lru_cache
from pathlib import Path
from typing import Any

import pypdf

Said = tuple[str, str]
"""(where, what it says)"""
BETWEEN = bytes(item for item in range(256) if not chr(item).isascii() or not chr(item).isalnum())
"""What may stand between the digits of a number."""


def places(said: Iterable[Said], numbers: Iterable[str], cvc: str) -> list[str]:
    """Yield the places of the numbers, however they are grouped, even without the last four digits, and of the security code.

    A number that begins with twelve equal digits has to be there as a whole: a database file has such runs, as the lengths of columns.
    """
    digits = {re.sub(r"\D", "", number) for number in numbers}
    needles = sorted({(item[:12] if len(set(item[:12])) > 1 else item).encode() for item in digits})
    code = re.compile(rf"(?<![0-9A-Za-z.]){cvc}(?![0-9A-Za-z])")
    found = []
    for where, text in said:
        bare = text.encode("latin-1", "replace").translate(None, BETWEEN)
        if any(needle in bare for needle in needles) or (cvc in text and code.search(text)):
            found.append(where)
    return found


def files(*folders: Path) -> Iterator[Said]:
    """Yield the bytes of every file, including write-ahead logs."""
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                yield f"file {path.name}", path.read_bytes().decode("latin-1")


def sqlite_columns(path: Path) -> Iterator[Said]:
    with closing(sqlite3.connect(path)) as c:
        for (table,) in c.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            rows = c.execute(f'SELECT * FROM "{table}"')  # noqa: S608
            names = [item[0] for item in rows.description]
            yield from _cells(table, names, rows)


def postgres_columns(url: str) -> Iterator[Said]:
    """Read as the owner, because row-level security hides rows from other roles."""
    import psycopg

    with psycopg.connect(url.replace("postgresql+psycopg://", "postgresql://", 1)) as c:
        tables = c.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        for (table,) in tables:
            rows = c.execute(f'SELECT * FROM "{table}"')  # type: ignore[arg-type]  # noqa: S608
            yield from _cells(table, [item.name for item in rows.description or ()], rows)


def _cells(table: str, names: list[str], rows: Iterable[Any]) -> Iterator[Said]:
    for row in rows:
        for name, value in zip(names, row, strict=True):
            text = value.decode("latin-1") if isinstance(value, bytes) else json.dumps(value, default=str, ensure_ascii=False)
            yield f"{table}.{name}", text
            if isinstance(value, bytes) and value[:5] == b"%PDF-":
                yield f"{table}.{name} (document)", pdf(value)
            if table == "mailbox" and name == "attachments":
                for load in json.loads(value) if isinstance(value, str) else value:
                    yield "mailbox attachment", pdf(base64.b64decode(load["data"]))


@lru_cache(maxsize=256)
def pdf(data: bytes) -> str:
    """Return the visible text, the attachments and the metadata of a document."""
    reader = pypdf.PdfReader(io.BytesIO(data))
    attached = "".join(part.decode("utf-8", "replace") for parts in reader.attachments.values() for part in parts)
    return "\n".join(page.extract_text() for page in reader.pages) + json.dumps(dict(reader.metadata or {}), default=str) + attached


def emails(raw: Iterable[bytes]) -> Iterator[Said]:
    """Return emails as they were sent, every part decoded."""
    for message in raw:
        item = email.message_from_bytes(message, policy=email.policy.default)
        yield "letter headers", "\n".join(f"{name}: {value}" for name, value in item.items())
        for part in item.walk():
            if part.is_multipart():
                continue
            data = part.get_payload(decode=True)
            yield f"letter {part.get_content_type()}", data.decode("utf-8", "replace")
            if data[:5] == b"%PDF-":
                yield "letter document", pdf(data)
