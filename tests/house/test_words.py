"""Every message of code and templates has an entry with the same placeholders in every catalog.

This test names each missing message and its place. After editing a catalog, `make setup` compiles it.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from babel.messages.catalog import Message
from babel.messages.extract import extract_from_dir
from babel.messages.mofile import read_mo
from babel.messages.pofile import read_po

from billing.documents.words import LABELS

ROOT = Path(__file__).resolve().parents[2]
LANGUAGES = sorted(path.name for path in (ROOT / "translations").iterdir() if (path / "LC_MESSAGES").is_dir())
ROOMS = ("core", "billing", "gateways", "auth", "portal", "unified", "tenants", "templates")
_HOLE = re.compile(r"%\((\w+)\)[sd]|%[sd]")
_MARKUP = re.compile(r"&\w+;|<[^>]+>")
# The same in English and there: figures and names, or a word the language took over.
EVERYWHERE = {"HTML", "ID", "Webhook", "%(card)s %(expires)s.", "SMTP %(code)s", "2 px", "4 px", "12 px"}
SAME = {
    "de": {
        "App",
        "Apps",
        "Browser",
        "Domain",
        "Filter",
        "in",
        "in %(ms)s ms",
        "in %(time)s",
        "Job",
        "Link",
        "Logo",
        "Name",
        "Passkeys",
        "Person",
        "Problem",
        "Status",
        "System",
        "Team",
        "Test",
        "Webhooks",
    },
    "it": {
        "App",
        "Browser",
        "Console",
        "Database",
        "Email",
        "Hash %(hash)s…",
        "in %(ms)s ms",
        "Job",
        "Link",
        "Logo",
        "No",
        "Privacy",
        "Replica",
        "Team",
    },
    "pt_BR": {"Endpoints", "Hash %(hash)s…", "Link", "Total", "Webhooks"},
    "sv": {"App", "Disk", "Filter", "Hash %(hash)s…", "Plan", "plan", "Problem", "Session", "Status", "System", "Team", "Test", "Webhooks"},
}
PLURALS = {"de": "(n != 1)", "it": "(n != 1)", "pt_BR": "(n > 1)", "sv": "(n != 1)"}  # in Brazil none is singular


@functools.cache
def messages() -> dict[str | tuple[str, str], str]:
    """Map each msgid (or singular and plural) to its place."""
    found: dict[str | tuple[str, str], str] = {}
    for room in ROOMS:
        methods = [("**.py", "python"), ("**.html", "jinja2"), ("**.txt", "jinja2")]
        for name, line, message, _comments, _context in extract_from_dir(
            ROOT / room,
            methods,
            keywords={
                "_": None,
                "gettext": None,
                "ngettext": (1, 2),
                "lazy_gettext": None,
                "_l": None,
                "N_": None,
                "pgettext": ((1, "c"), 2),
            },
        ):
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


@functools.cache
def entries(language: str) -> list[Message]:
    with (ROOT / "translations" / language / "LC_MESSAGES" / "messages.po").open("rb") as file:
        return [item for item in read_po(file, locale=language) if item.id]


def pairs(language: str) -> Iterator[tuple[str, str]]:
    """Yield (English, translated); of plurals each form."""
    for entry in entries(language):
        yield from zip(entry.id, entry.string) if isinstance(entry.id, tuple | list) else [(entry.id, entry.string)]


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_translation_equals_the_english_text(language: str) -> None:
    same = {english for english, other in pairs(language) if english == other}
    assert same <= EVERYWHERE | SAME[language], "words that stay as they are belong to SAME; a translator forgot the others"


@pytest.mark.parametrize("language", [language for language in LANGUAGES if language != "pt_BR"])
def test_leaving_a_form_is_not_called_like_ending_a_subscription(language: str) -> None:
    """English has one word for both, "Cancel", and so has Portuguese. Elsewhere the link beside "Save" must not read like a termination."""
    said = dict(pairs(language))
    assert said["Cancel"].lower() not in said["Cancel subscription"].lower()


@pytest.mark.parametrize("language", LANGUAGES)
def test_translations_keep_markup_and_outer_spaces(language: str) -> None:
    for english, other in pairs(language):
        assert sorted(_MARKUP.findall(english)) == sorted(_MARKUP.findall(other)), english
        assert [english[:1].isspace(), english[-1:].isspace()] == [other[:1].isspace(), other[-1:].isspace()], english


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_catalog_message_is_used(language: str) -> None:
    used = {key if isinstance(key, str) else key[0] for key in messages()}
    assert not {entry.id if isinstance(entry.id, str) else entry.id[0] for entry in entries(language)} - used


@pytest.mark.parametrize("language", LANGUAGES)
def test_catalogs_have_the_plural_rule_of_their_language(language: str) -> None:
    with (ROOT / "translations" / language / "LC_MESSAGES" / "messages.po").open("rb") as file:
        header = file.read().decode()
    assert f'"Language: {language}\\n"' in header and f"plural={PLURALS[language]};" in header


@pytest.mark.parametrize("language", LANGUAGES)
def test_catalogues_are_compiled(language: str) -> None:
    folder = ROOT / "translations" / language / "LC_MESSAGES"
    with (folder / "messages.mo").open("rb") as file:
        assert len(read_mo(file)) > 100, "make setup compiles them"


def test_documents_are_written_in_the_languages_of_the_pages() -> None:
    assert ["en", *LANGUAGES] == sorted(LABELS, key=lambda name: (name != "en", name)) and LANGUAGES == ["de", "it", "pt_BR", "sv"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_documents_have_no_english_words_left(language: str) -> None:
    same = {LABELS["en"][key] for key in LABELS["en"] if LABELS[language][key] == LABELS["en"][key]}
    assert same <= {"Subtotal", "Total"}
