"""A readable browser name such as `Firefox · Linux`, for emails and the list of sessions. Used only for display."""

from __future__ import annotations

_BROWSERS = (
    ("Edg", "Edge"),
    ("OPR", "Opera"),
    ("SamsungBrowser", "Samsung Internet"),
    ("Firefox", "Firefox"),
    ("FxiOS", "Firefox"),
    ("CriOS", "Chrome"),
    ("Chrome", "Chrome"),
    ("Safari", "Safari"),
    ("curl", "curl"),
)
_SYSTEMS = (
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("Windows", "Windows"),
    ("Mac OS X", "macOS"),
    ("CrOS", "ChromeOS"),
    ("Linux", "Linux"),
)


def device_words(user_agent: str | None) -> str:
    """Return browser and system from a fixed list. Nothing from the User-Agent header is copied into emails."""
    header = user_agent or ""
    browser = next((word for mark, word in _BROWSERS if mark in header), "")
    system = next((word for mark, word in _SYSTEMS if mark in header), "")
    return " · ".join(part for part in (browser, system) if part)
