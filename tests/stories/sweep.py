"""Looks everywhere that something is kept, said or sent for numbers that nobody may keep."""

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
BETWEEN = bytes(one for one in range(256) if not chr(one).isascii() or not chr(one).isalnum())
"""What may stand between the digits of a number."""


def places(said: Iterable[Said], numbers: Iterable[str], cvc: str) -> list[str]:
    """Where one of the numbers stands, however it is grouped, even without its last four; or the security code on its own."""
    needles = sorted({re.sub(r"\D", "", one)[:12].encode() for one in numbers})
    code = re.compile(rf"(?<![0-9A-Za-z.]){cvc}(?![0-9A-Za-z])")
    found = []
    for where, text in said:
        bare = text.encode("latin-1", "replace").translate(None, BETWEEN)
        if any(one in bare for one in needles) or (cvc in text and code.search(text)):
            found.append(where)
    return found


def files(*folders: Path) -> Iterator[Said]:
    """Every byte of every file, the write-ahead logs too."""
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                yield f"file {path.name}", path.read_bytes().decode("latin-1")


def sqlite_columns(path: Path) -> Iterator[Said]:
    with closing(sqlite3.connect(path)) as c:
        for (table,) in c.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            rows = c.execute(f'SELECT * FROM "{table}"')  # noqa: S608
            names = [one[0] for one in rows.description]
            yield from _cells(table, names, rows)


def postgres_columns(url: str) -> Iterator[Said]:
    """As the owner: row-level security hides nothing from this."""
    import psycopg

    with psycopg.connect(url.replace("postgresql+psycopg://", "postgresql://", 1)) as c:
        tables = c.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        for (table,) in tables:
            rows = c.execute(f'SELECT * FROM "{table}"')  # type: ignore[arg-type]  # noqa: S608
            yield from _cells(table, [one.name for one in rows.description or ()], rows)


def _cells(table: str, names: list[str], rows: Iterable[Any]) -> Iterator[Said]:
    for row in rows:
        for name, value in zip(names, row, strict=True):
            text = value.decode("latin-1") if isinstance(value, bytes) else json.dumps(value, default=str, ensure_ascii=False)
            yield f"{table}.{name}", text
            if isinstance(value, bytes) and value[:5] == b"%PDF-":
                yield f"{table}.{name} (document)", pdf(value)
            if table == "mailbox" and name == "attachments":
                for one in json.loads(value) if isinstance(value, str) else value:
                    yield "mailbox attachment", pdf(base64.b64decode(one["data"]))


@lru_cache(maxsize=256)
def pdf(data: bytes) -> str:
    """What a reader sees, and what is attached or said about the document."""
    reader = pypdf.PdfReader(io.BytesIO(data))
    attached = "".join(part.decode("utf-8", "replace") for parts in reader.attachments.values() for part in parts)
    return "\n".join(page.extract_text() for page in reader.pages) + json.dumps(dict(reader.metadata or {}), default=str) + attached


def letters(raw: Iterable[bytes]) -> Iterator[Said]:
    """Letters as they went over the wire, every part decoded."""
    for message in raw:
        one = email.message_from_bytes(message, policy=email.policy.default)
        yield "letter headers", "\n".join(f"{name}: {value}" for name, value in one.items())
        for part in one.walk():
            if part.is_multipart():
                continue
            data = part.get_payload(decode=True)
            yield f"letter {part.get_content_type()}", data.decode("utf-8", "replace")
            if data[:5] == b"%PDF-":
                yield "letter document", pdf(data)
