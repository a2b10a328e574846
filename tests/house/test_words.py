"""No untranslated words: every message of code and templates has an entry in every catalogue, with the same placeholders."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from babel.messages.extract import extract_from_dir
from babel.messages.mofile import read_mo
from babel.messages.pofile import read_po

ROOT = Path(__file__).resolve().parents[2]
LANGUAGES = sorted(path.name for path in (ROOT / "translations").iterdir() if (path / "LC_MESSAGES").is_dir())
METHODS = [("templates/**.html", "jinja2"), ("templates/**.txt", "jinja2"), ("**.py", "python")]
ROOMS = ("core", "billing", "gateways", "auth", "portal", "unified", "tenants", "templates")
_HOLE = re.compile(r"%\((\w+)\)[sd]|%[sd]")


def messages() -> dict[str | tuple[str, str], str]:
    """msgid (or singular and plural) → where."""
    found: dict[str | tuple[str, str], str] = {}
    for room in ROOMS:
        methods = [("**.py", "python"), ("**.html", "jinja2"), ("**.txt", "jinja2")]
        for name, line, message, _comments, _context in extract_from_dir(ROOT / room, methods, keywords={
            "_": None, "gettext": None, "ngettext": (1, 2), "lazy_gettext": None, "_l": None, "N_": None, "pgettext": ((1, "c"), 2),
        }):
            key = tuple(message[:2]) if isinstance(message, tuple) else message
            found.setdefault(key, f"{room}/{name}:{line}")
    return found


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_message_is_translated(language: str) -> None:
    path = ROOT / "translations" / language / "LC_MESSAGES" / "messages.po"
    with path.open("rb") as file:
        catalogue = read_po(file, locale=language)
    missing, holes = [], []
    for message, where in messages().items():
        singular = message[0] if isinstance(message, tuple) else message
        entry = catalogue.get(message if isinstance(message, str) else singular)
        strings = entry.string if entry and isinstance(entry.string, tuple | list) else [entry.string if entry else ""]
        if entry is None or entry.fuzzy or not all(strings):
            missing.append(f"{where}: {singular!r}")
            continue
        if isinstance(message, str):
            strings = strings[:1]  # a plain message that is a singular elsewhere too: gettext answers with its singular
        wanted = {hole for text in ([message] if isinstance(message, str) else message) for hole in _HOLE.findall(text)}
        for text in strings:
            if not set(_HOLE.findall(text)) <= wanted or (isinstance(message, str) and set(_HOLE.findall(text)) != wanted):
                holes.append(f"{where}: {singular!r} → {text!r}")
    assert not missing, f"{len(missing)} messages without {language}:\n" + "\n".join(missing[:20])
    assert not holes, "\n".join(holes[:20])


@pytest.mark.parametrize("language", LANGUAGES)
def test_catalogues_are_compiled(language: str) -> None:
    folder = ROOT / "translations" / language / "LC_MESSAGES"
    with (folder / "messages.mo").open("rb") as file:
        assert len(read_mo(file)) > 100, "make messages"


def test_there_are_languages_besides_english() -> None:
    assert "de" in LANGUAGES
