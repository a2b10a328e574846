"""Open every page that one visitor can reach, from the URL map and the ids in the database, and follow every link.

It submits no forms. It reports answers of 500 and above, "None" in visible text, and dead links.
"""

from __future__ import annotations

import io
import itertools
import re
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any
from urllib.parse import urljoin, urlsplit

import pypdf
from bs4 import BeautifulSoup
from flask import Flask
from werkzeug.routing import BuildError

Ids = dict[str, list[str]]
"""URL argument → the ids it may have."""

NONE = re.compile(r"(?<![\w-])(?:None|NaN|Undefined)(?![\w-])")
"""A missing value, printed. People are called None nowhere in the data that is walked."""
ID = re.compile(r"[a-z]{3}_[\w.]{8,}|(?<==)[\w%.~-]{16,}")
MOST_OF_A_RULE = 400


@dataclass
class Walk:
    """`faults` is empty if every page renders; `seen` counts answers by status. `most_alike`: pages that differ only in ids."""

    app: Flask
    client: Any
    headers: dict[str, str]
    stays_in: tuple[str, ...] = ("/",)  # the paths that are walked; a link to another path of this host is only opened
    never: tuple[str, ...] = ("/logout", "/static/", "/sandbox/", "/mailbox", "/clock", "/metrics")
    most_alike: int = 25
    faults: list[str] = field(default_factory=list)
    seen: Counter[int] = field(default_factory=Counter)
    rules: Counter[str] = field(default_factory=Counter)

    def walk(self, starts: Iterable[str]) -> Walk:
        """Open each path, then follow the links. A start path may be refused (another person's id); a link may not."""
        todo: deque[tuple[str, str]] = deque((path, "") for path in dict.fromkeys(starts))
        known, alike = {path for path, _from in todo}, Counter[str]()
        while todo:
            path, linked_from = todo.popleft()
            alike[shape := ID.sub("id", path)] += 1
            if alike[shape] > self.most_alike:
                continue
            for link in self.look(path, linked_from):
                if link not in known:
                    known.add(link)
                    todo.append((link, path))
        return self

    def look(self, path: str, linked_from: str) -> list[str]:
        answer = self.client.get(path, headers=self.headers)
        self.seen[answer.status_code] += 1
        if answer.status_code >= 500:
            self.faults.append(f"{path}: {answer.status_code}")
            return []
        if answer.status_code >= 400:
            if linked_from and answer.status_code != 403:
                why = BeautifulSoup(answer.data, "html.parser").find("main")
                self.faults.append(f"{path}: dead link ({answer.status_code}) on {linked_from}: {why and why.get_text(' ', strip=True)}")
            return []
        if 300 <= answer.status_code < 400:
            return self._links([answer.headers["Location"]], path)
        soup = BeautifulSoup(answer.data, "lxml") if answer.mimetype == "text/html" else None
        text = read(answer, soup)
        if (found := NONE.search(text)) is not None:
            self.faults.append(f"{path}: {' '.join(text[max(0, found.start() - 60) : found.end() + 40].split())!r}")
        if soup is None or not any(path.startswith(item) for item in self.stays_in):
            return []
        ids = {item["id"] for item in soup.find_all(id=True)}
        targets = [item["href"] for item in soup.find_all(["a", "link"], href=True)] + [item["src"] for item in soup.find_all(src=True)]
        self.faults += [
            f"{path}: no {target} on the page" for target in targets if target.startswith("#") and len(target) > 1 and target[1:] not in ids
        ]
        return self._links(targets, path)

    def _links(self, targets: Iterable[str], path: str) -> list[str]:
        out = []
        for target in targets:
            parts = urlsplit(urljoin(f"http://localhost{path}", target))
            if parts.scheme in ("http", "https") and parts.netloc == "localhost" and not parts.path.startswith(self.never):
                out.append(parts.path + (f"?{parts.query}" if parts.query else ""))
        return out

    def addresses(self, ids: Ids, within: str = "/") -> list[str]:
        """Return every readable URL of the URL map, with every id that exists for it."""
        out = []
        with self.app.test_request_context():
            adapter = self.app.create_url_adapter(None) or self.app.url_map.bind("localhost")
            for rule in self.app.url_map.iter_rules():
                if not rule.rule.startswith(within) or "GET" not in (rule.methods or ()) or rule.rule.startswith(self.never):
                    continue
                names = sorted(rule.arguments)
                if not all(ids.get(name) for name in names):
                    continue
                for values in itertools.islice(itertools.product(*(ids[name] for name in names)), MOST_OF_A_RULE):
                    try:
                        out.append(adapter.build(rule.endpoint, dict(zip(names, values, strict=True))))
                        self.rules[rule.rule] += 1
                    except BuildError:
                        break
        return out


def read(answer: Any, soup: BeautifulSoup | None) -> str:
    """Return the visible text of an answer: of a page, a PDF, JSON or CSV."""
    if soup is not None:
        said = [str(tag.get(name)) for tag in soup.find_all(True) for name in ("value", "alt", "title", "aria-label") if tag.has_attr(name)]
        said += [string for string in soup.strings if string.parent is None or string.parent.name not in ("script", "style")]
        return " ".join(said)
    if answer.mimetype == "application/pdf":
        return text_of(answer.data)
    return answer.get_data(as_text=True) if answer.mimetype.startswith(("text/", "application/json")) else ""


@lru_cache(maxsize=512)
def text_of(pdf: bytes) -> str:
    return "\n".join(page.extract_text() for page in pypdf.PdfReader(io.BytesIO(pdf)).pages)
