"""One concept has one name. docs/glossary.md lists the names; the words that they replaced are used nowhere."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections import defaultdict
from collections.abc import Iterable
from functools import cache, lru_cache

from flask import Flask
from sqlalchemy import create_engine

from core import guard
from core.services import Services
from tests.house.test_rules import ROOMS, ROOT, files, nodes, parsed, tracked
from tests.house.test_words import messages

# A word of an identifier (`shop_name`, `ShopName`) → the glossary's name for it.
REPLACED = {
    "letter": "email",
    "letters": "emails",
    "shop": "business",
    "shops": "businesses",
    "planted": "pending_acceptance",
    "parked": "reconciliation_exception, or given_up for work",
    "elsewhere": "external",
    "till": "payment_processor",
    "desk": "what the class does",
    "deed": "event",
    "deeds": "events",
    "chapter": "timeline_entry",
    "happening": "event",
    "happenings": "events",
    "wish": "request",
    "wishes": "requests",
    "house": "services, or the name of the package",
}
# The same in sentences. Characters of an alphabet are allowed (ALPHABET).
SENTENCES = re.compile(
    r"\b(an?|the|your|another|this|that|no|by|our|last|older|newer) letters?\b|\bletters\b|\bshops?\b|\bplanted\b|\bparked\b|"
    r"\bcollected elsewhere\b|\bfree it\b|\bgoes on\b(?! hold)|\bwants to appear\b|\bwrite them down\b|\bleave it as it is\b|"
    r"\bstands (here|there|on|beside)\b",
    re.IGNORECASE,
)
ALPHABET = re.compile(
    r"\b(capital|small|upper[- ]case|lower[- ]case|latin|two|three|four|five|six|eight|10|only|or|and|of|with|these|without|as|"
    r"digits,|ASCII|right-to-left) letters\b|\bletters,? (and|or|of|from|with|A|digits|are|in|that)\b|\bletters \(|"
    r"\b(a|the) letters?,? (digit|with|outside|that|of the|in)",
    re.IGNORECASE,
)
# Phrases that hide what a test checks.
SAYINGS = re.compile(
    r"_(stands?|nobody_notices|goes_on|makes_no_sense|is_nothing|takes_along|says_so_to|of_before|anew)(_|$)|_(that|who)_(are|is)_none(_|$)"
)
ALLOWED = {"ascii_letters"}  # of the standard library
CODE = re.compile(r"`[^`]*`|\{%.*?(%\}|$)|\{\{.*?(\}\}|$)|'\w+'", re.DOTALL)
PROSE = {".md", ".txt", ".html", ".typ"}


def parts(name: str) -> set[str]:
    """`shopName`, `SHOP_NAME` and `shop_name` → {'shop', 'name'}."""
    return {word.lower() for word in re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).split("_") if word}


@cache
def identifiers_and_comments(source: str) -> tuple[dict[str, int], list[tuple[int, str]]]:
    """Return the identifiers, each with its first line, and the comments with their lines."""
    identifiers: dict[str, int] = {}
    comments = []
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.NAME:
            identifiers.setdefault(token.string, token.start[0])
        elif token.type == tokenize.COMMENT:
            comments.append((token.start[0], token.string))
    return identifiers, comments


@lru_cache(maxsize=1)
def sources() -> tuple[tuple[str, str, ast.Module], ...]:
    """Return (path, source, tree) of all product and test code, without `tests/house` in paths: house tests are in the glossary."""
    found = list(files(*ROOMS, "bench", "wsgi"))
    for path in tracked():
        name = path.relative_to(ROOT).as_posix()
        if name.startswith("tests/") and path.suffix == ".py":
            source, tree = parsed(path)
            found.append((name.replace("tests/house/", "tests/"), source.replace("tests.house", "tests"), tree))
    return tuple(found)


def in_sentences(text: str) -> list[str]:
    """Words of a text that the glossary replaced. Code in backticks, of templates and stored values in quotes is no text."""
    prose = ALPHABET.sub("", CODE.sub("", text))
    return [found[0] for found in SENTENCES.finditer(prose)]


def test_replaced_words_are_no_part_of_an_identifier() -> None:
    bad = [
        f"{name}:{line}: {identifier}: say {REPLACED[word]}"
        for name, source, _ in sources()
        for identifier, line in identifiers_and_comments(source)[0].items()
        if identifier not in ALLOWED
        for word in sorted(parts(identifier) & REPLACED.keys())
    ]
    bad += [f"{path}: the file" for path, _, _ in sources() for word in parts(path.replace("/", "_").removesuffix(".py")) & REPLACED.keys()]
    assert not bad, f"{len(bad)}:\n" + "\n".join(bad[:60])


def test_replaced_words_are_in_no_message() -> None:
    bad = []
    for message, where in messages().items():
        for text in (message,) if isinstance(message, str) else message:
            bad += [f"{where}: {word!r} in {text[:90]!r}" for word in in_sentences(text)]
    assert not bad, f"{len(bad)}:\n" + "\n".join(bad[:60])


def test_replaced_words_are_in_no_docstring() -> None:
    bad = []
    for name, _, tree in sources():
        for node in nodes(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and (text := ast.get_docstring(node)):
                bad += [f"{name}: {getattr(node, 'name', 'module')}: {word!r}" for word in in_sentences(text)]
    assert not bad, f"{len(bad)}:\n" + "\n".join(bad[:60])


def test_replaced_words_are_in_no_comment() -> None:
    bad = [
        f"{name}:{line}: {word!r}"
        for name, source, _ in sources()
        for line, comment in identifiers_and_comments(source)[1]
        for word in in_sentences(comment)
    ]
    assert not bad, f"{len(bad)}:\n" + "\n".join(bad[:60])


def test_names_of_tests_are_statements() -> None:
    """A test is named after the behavior it checks, in present tense, without the phrases of earlier names."""
    bad = [
        f"{name}: {node.name}"
        for name, _, tree in sources()
        if name.startswith("tests/")
        for node in nodes(tree)
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_") and SAYINGS.search(node.name)
    ]
    assert not bad, f"{len(bad)}:\n" + "\n".join(bad[:60])


def test_replaced_words_are_in_no_document() -> None:
    bad = []
    for path in tracked():
        name = path.relative_to(ROOT).as_posix()
        if path.suffix in PROSE and name.split("/")[0] not in ("tests", "static", "translations") and name != "docs/glossary.md":
            bad += [f"{name}: {word!r}" for word in in_sentences(path.read_text(encoding="utf-8"))]
    assert not bad, f"{len(bad)}:\n" + "\n".join(bad[:60])


# A word of a name in the database or on the outside: tables, columns, indexes, events, URLs, endpoints, jobs
OUTSIDE = {*REPLACED} - {"house"} | {
    "known", "planted", "appears", "appearance", "appearances", "told", "asked", "ask", "asks", "story", "views", "looking",
    "forwarded", "act", "acts", "reminders", "again", "repeats", "budgets", "proof", "place", "sweep", "swept", "sweeping", "figures",
    "face", "standing",
}  # fmt: skip


def outside_words(names: Iterable[str]) -> list[str]:
    return sorted(name for name in names if {word.lower() for word in re.split(r"[^A-Za-z]+", name)} & OUTSIDE)


def test_replaced_words_are_in_no_name_of_the_schema(services: Services) -> None:
    """As the database has them: also the constraints and indexes that no model names."""
    engine = create_engine(services.settings.owner_url)
    with engine.connect() as connection, guard.raw_sql():
        if connection.dialect.name == "sqlite":
            names = connection.exec_driver_sql("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL").scalars().all()
        else:
            names = connection.exec_driver_sql(
                "SELECT relname FROM pg_class WHERE relnamespace = current_schema()::regnamespace"
                " UNION ALL SELECT attname FROM pg_attribute WHERE attrelid IN (SELECT oid FROM pg_class WHERE relnamespace ="
                " current_schema()::regnamespace) AND NOT attisdropped"
                " UNION ALL SELECT conname FROM pg_constraint WHERE connamespace = current_schema()::regnamespace"
                " UNION ALL SELECT tgname FROM pg_trigger WHERE NOT tgisinternal UNION ALL SELECT policyname FROM pg_policies"
                " UNION ALL SELECT proname FROM pg_proc WHERE pronamespace = current_schema()::regnamespace"
            ).scalars().all()  # fmt: skip
    engine.dispose()
    assert len(names) > 150 and outside_words(names) == []


def test_replaced_words_are_in_no_event_job_or_url(services: Services) -> None:
    emitted = {
        node.args[1].value
        for _, _, tree in files(*ROOMS)
        for node in nodes(tree)
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "emit" and len(node.args) > 1
        if isinstance(node.args[1], ast.Constant)
    }
    jobs = {tick.name for tick in services.worker.ticks} | {lanes.name for lanes in services.worker.lanes}
    handlers = {name for _, name, _, _ in services.handlers._all}
    templates = {path.name for path in (ROOT / "templates/email").iterdir() if path.is_dir()}
    assert emitted and jobs and handlers and templates
    assert outside_words(emitted | jobs | handlers | templates) == []


def test_replaced_words_are_in_no_url_or_endpoint(app: Flask) -> None:
    standard = "/.well-known/"  # RFC 8615
    assert outside_words({f"{rule.endpoint} {rule.rule}" for rule in app.url_map.iter_rules() if not rule.rule.startswith(standard)}) == []


def test_a_class_name_has_one_meaning() -> None:
    found = defaultdict(list)
    for name, _, tree in files(*ROOMS, "bench"):
        for node in tree.body:
            if isinstance(node, ast.ClassDef):
                found[node.name.lstrip("_")].append(name)
    several = {name: places for name, places in found.items() if len(places) > 1}
    assert not several, several


def test_the_check_knows_the_words() -> None:
    assert SAYINGS.search("test_every_page_stands") and not SAYINGS.search("test_every_page_renders")
    assert in_sentences("We sent you a letter.") and in_sentences("Open the shop") and parts("closeShop") == {"close", "shop"}
    assert not in_sentences("Use three letters or digits.") and not in_sentences("capital letters")
