"""Links that a business or the operator puts on pages."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

MOST_TEXT = 10_000
"""Characters of a public text."""
MOST_LINK = 1_000
_UNSAFE = re.compile(r"[\x00-\x20\x7f-\x9f\u2028\u2029\\<>\"]")


def https_link(url: str) -> bool:
    """Return whether the URL is an https address with a host, and has no user name, spaces, control characters or backslashes."""
    if not url or len(url) > MOST_LINK or _UNSAFE.search(url):
        return False
    try:
        parts = urlsplit(url)
        return parts.scheme == "https" and bool(parts.hostname) and "@" not in parts.netloc and parts.port != 0
    except ValueError:
        return False
