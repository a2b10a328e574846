"""Convert a Markdown subset written by businesses to sanitized HTML. Only https links are allowed."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import nh3
from markupsafe import Markup, escape

_TAGS = {"p", "br", "strong", "em", "ul", "ol", "li", "code", "a"}
_LINK = re.compile(r"\[([^\]\n]{1,200})\]\((https://[^\s)]{1,1000})\)")
_STRONG = re.compile(r"\*\*([^*\n]+)\*\*")
_EM = re.compile(r"(?<![\w*])[*_]([^*_\n]+)[*_](?![\w*])")
_CODE = re.compile(r"`([^`\n]+)`")


def safe_html(text: str | None) -> Markup:
    """Return HTML with paragraphs, lists, emphasis, code and https links. Other markup is shown as plain text."""
    blocks = [_block(part) for part in re.split(r"\n\s*\n", (text or "").replace("\r", "").strip()[:10_000]) if part.strip()]
    cleaned = nh3.clean(
        "".join(blocks), tags=_TAGS, attributes={"a": {"href"}}, url_schemes={"https"}, link_rel="noopener noreferrer nofollow"
    )
    return Markup(cleaned)  # noqa: S704 - cleaned on the line above


def safe_link(url: str | None) -> str:
    """Return the URL if it is a valid https URL, otherwise an empty string."""
    parts = urlsplit(url or "")
    return url or "" if parts.scheme == "https" and parts.netloc and not re.search(r"[\s\x00-\x1f\\]", url or "") else ""


def _block(text: str) -> str:
    rows = text.strip().split("\n")
    if all(re.match(r"\s*[-*] ", row) for row in rows):
        return "<ul>" + "".join(f"<li>{_inline(row.strip()[2:])}</li>" for row in rows) + "</ul>"
    return "<p>" + "<br>".join(_inline(row) for row in rows) + "</p>"


def _inline(text: str) -> str:
    html = str(escape(text))
    for pattern, replacement in (
        (_CODE, r"<code>\1</code>"),
        (_LINK, r'<a href="\2">\1</a>'),
        (_STRONG, r"<strong>\1</strong>"),
        (_EM, r"<em>\1</em>"),
    ):
        html = pattern.sub(replacement, html)
    return html
