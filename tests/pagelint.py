"""Rules for every page: parseable HTML, one h1, a title, a language, labelled fields, no inline style or script without nonce."""

from __future__ import annotations

import re
import warnings

import html5lib
from bs4 import BeautifulSoup

_FORGIVEN = {"expected-doctype-but-got-eof"}
_LONG = re.compile(r"[\w.~%-]{16,}")  # ids, tokens, nonces: they differ, the page does not
_good: set[int] = set()


def lint(html: str, path: str) -> None:
    """Check a page. Pages that differ only in ids and tokens are checked once."""
    seen: dict[str, int] = {}
    shape = hash(_LONG.sub(lambda item: f"x{seen.setdefault(item[0], len(seen))}", html))
    if shape not in _good:
        _lint(html, path)
        _good.add(shape)


def _lint(html: str, path: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        parser = html5lib.HTMLParser(strict=False, namespaceHTMLElements=False)
        parser.parse(html)
    faults = [f"{code} at {position} {data}" for position, code, data in parser.errors if code not in _FORGIVEN]
    soup = BeautifulSoup(html, "html.parser")
    if len(soup.find_all("h1")) != 1:
        faults.append(f"{len(soup.find_all('h1'))} h1")
    if not (soup.title and soup.title.get_text(strip=True)):
        faults.append("no title")
    if not soup.html or not soup.html.get("lang"):
        faults.append("no language")
    labels = {label.get("for") for label in soup.find_all("label")}
    ids = [item["id"] for item in soup.find_all(id=True)]
    if len(ids) != len(set(ids)):
        faults.append(f"ids twice: {sorted({i for i in ids if ids.count(i) > 1})[:5]}")
    for field in soup.find_all(["input", "select", "textarea"]):
        if field.get("type") in ("hidden", "submit", "button"):
            continue
        if not (field.get("id") in labels or field.get("aria-label") or field.get("aria-labelledby") or field.find_parent("label")):
            faults.append(f"no label for {field.get('name')}")
    for tag in soup.find_all(["script", "style"]):
        if not tag.get("nonce") and not (tag.name == "script" and tag.get("src")):
            faults.append(f"<{tag.name}> without a nonce")
    faults += [f"style attribute on <{tag.name}>" for tag in soup.find_all(style=True)]
    faults += [f"inline handler on <{tag.name}>" for tag in soup.find_all(True) if any(a.startswith("on") for a in tag.attrs)]
    for form in soup.find_all("form"):
        if (form.get("method") or "get").lower() == "post" and not form.find("input", {"name": "csrf_token"}):
            faults.append(f"form without csrf_token to {form.get('action')}")
    assert not faults, f"{path}: " + "; ".join(faults[:8])
