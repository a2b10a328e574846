"""A browser in words: `Firefox on Linux`. For letters and the list of sessions; nothing decides by it."""

from __future__ import annotations

_BROWSERS = (("Edg", "Edge"), ("OPR", "Opera"), ("SamsungBrowser", "Samsung Internet"), ("Firefox", "Firefox"), ("FxiOS", "Firefox"),
             ("CriOS", "Chrome"), ("Chrome", "Chrome"), ("Safari", "Safari"), ("curl", "curl"))
_SYSTEMS = (("iPhone", "iPhone"), ("iPad", "iPad"), ("Android", "Android"), ("Windows", "Windows"), ("Mac OS X", "macOS"),
            ("CrOS", "ChromeOS"), ("Linux", "Linux"))


def device_words(user_agent: str | None) -> str:
    """At most two of our own words; nothing the browser said is copied into a letter."""
    said = user_agent or ""
    browser = next((word for mark, word in _BROWSERS if mark in said), "")
    system = next((word for mark, word in _SYSTEMS if mark in said), "")
    return " · ".join(part for part in (browser, system) if part)
