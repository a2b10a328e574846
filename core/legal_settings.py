"""The operator's public texts and links: terms, privacy, the statement of accessibility, and how cancelling works."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from core.setting_values import Misconfigured
from core.web_links import MOST_TEXT, https_link


@dataclass(frozen=True)
class LegalSettings:
    """`accessibility` and `cancelling`: Markdown; empty: the portal's own text."""

    terms_url: str = ""
    privacy_url: str = ""
    accessibility: str = ""
    cancelling: str = ""

    @classmethod
    def read(cls, get: Callable[[str], str]) -> LegalSettings:
        """Read the variables PORTAL_TERMS_URL and so on. Raises Misconfigured for a link that is not https, and for an unreadable file."""
        return cls(
            _link(get, "PORTAL_TERMS_URL"),
            _link(get, "PORTAL_PRIVACY_URL"),
            _text(get, "PORTAL_ACCESSIBILITY_FILE"),
            _text(get, "PORTAL_CANCELLING_FILE"),
        )


def _link(get: Callable[[str], str], name: str) -> str:
    url = get(name)
    if url and not https_link(url):
        raise Misconfigured(f"{name} is {url!r}; it must be an https:// address.")
    return url


def _text(get: Callable[[str], str], name: str) -> str:
    if not (path := get(name)):
        return ""
    try:
        text = Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as wrong:
        raise Misconfigured(f"{name} cannot be read as UTF-8 text: {wrong}.") from wrong
    if len(text) > MOST_TEXT:
        raise Misconfigured(f"{name} has {len(text)} characters; at most {MOST_TEXT} are shown.")
    return text
