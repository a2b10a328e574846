"""Rules that can be checked by reading files: imports, hand-written SQL, and documentation."""

from __future__ import annotations

import ast
import functools
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from bs4 import BeautifulSoup, Comment

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("core", "billing", "gateways", "auth", "portal", "unified", "tenants")
PAGES = ("unified", "portal", "tenants/business_portal", "tenants/console", "tenants/api", "auth/sign_in_views")
# Who may end a transaction by hand: the sandbox is another company's database, with its own commits (safety §7).
COMMITS = ("core/", "gateways/sandbox/")
SHOUTED = re.compile(r"[^\W\d_]{2}")  # two letters in a row count as words


def files(*rooms: str) -> Iterator[tuple[str, str, ast.Module]]:
    for room in rooms or ROOMS:
        assert (ROOT / room).is_dir() or (ROOT / f"{room}.py").is_file(), f"there is no {room}"
        for path in sorted((ROOT / room).rglob("*.py") if (ROOT / room).is_dir() else ROOT.glob(f"{room}.py")):
            yield path.relative_to(ROOT).as_posix(), *parsed(path)


@functools.cache
def parsed(path: Path) -> tuple[str, ast.Module]:
    """Return the source and the tree of a file. Tests share the tree, so none may change it."""
    source = path.read_text(encoding="utf-8")
    return source, ast.parse(source)


@functools.cache
def nodes(tree: ast.AST) -> tuple[ast.AST, ...]:
    """Return every node of a tree."""
    return tuple(ast.walk(tree))


@functools.cache
def calls(tree: ast.Module) -> tuple[tuple[str, ast.Call], ...]:
    """Return (dotted name or attribute, call) of every call in a file."""
    return tuple((ast.unparse(node.func), node) for node in nodes(tree) if isinstance(node, ast.Call))


def tracked() -> list[Path]:
    """Return the files under version control."""
    try:
        out = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a repository")
    return [ROOT / item for item in out if (ROOT / item).is_file()]


def test_import_contracts_hold() -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([linter, "--config", "setup.cfg", "--no-cache"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-500:]


def test_pages_do_not_import_sqlalchemy() -> None:
    bad = []
    for name, _, tree in files(*PAGES):
        for node in nodes(tree):
            modules = (
                [item.name for item in node.names]
                if isinstance(node, ast.Import)
                else [getattr(node, "module", None) or ""]
                if isinstance(node, ast.ImportFrom)
                else []
            )
            bad += [f"{name}:{node.lineno}" for module in modules if module.split(".")[0] == "sqlalchemy"]
    assert not bad


def test_hand_written_sql_stays_in_core_and_migrations() -> None:
    """`text()` is allowed in a model's partial index, which is schema and not a statement."""
    bad = []
    for name, _, tree in files(*(room for room in ROOMS if room != "core")):
        schema = {
            id(value)
            for _, call in calls(tree)
            for keyword in call.keywords
            if keyword.arg in ("sqlite_where", "postgresql_where")
            for value in ast.walk(keyword.value)
        }
        imports = {
            alias.asname or alias.name
            for node in nodes(tree)
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("sqlalchemy")
            for alias in node.names
            if alias.name == "text"
        }
        for func, call in calls(tree):
            if id(call) not in schema and (func in imports or func.split(".")[-1] in ("raw_sql", "exec_driver_sql")):
                bad.append(f"{name}:{call.lineno} {func}")
    assert not bad


def test_transactions_end_in_core() -> None:
    bad = [
        f"{name}:{call.lineno} {func}"
        for name, _, tree in files()
        if not name.startswith(COMMITS)
        for func, call in calls(tree)
        if func.endswith((".commit", ".rollback"))
    ]
    assert not bad, f"a transaction ended by hand: {bad}"


def test_every_unrestricted_scope_gives_a_reason() -> None:
    bad = []
    for name, _, tree in files():
        for func, call in calls(tree):
            if func.split(".")[-1] == "everything" and name != "core/scope.py":
                why = call.args[0] if call.args else next((keyword.value for keyword in call.keywords if keyword.arg == "why"), None)
                if not (isinstance(why, ast.Constant) and isinstance(why.value, str) and len(why.value) > 5):
                    bad.append(f"{name}:{call.lineno}")
    assert not bad


def test_billing_does_not_import_the_web() -> None:
    bad = [
        f"{name}: {word}"
        for name, source, _ in files("billing")
        for word in ("flask", "werkzeug", "current_user", "current_app", "session[")
        if word in source
    ]
    assert not bad


def test_every_object_has_a_type_of_its_own() -> None:
    """SimpleNamespace is not checked by mypy: a renamed attribute is found only when a page breaks."""
    assert not [name for name, source, _ in files() if "SimpleNamespace" in source]


def test_every_setting_is_documented() -> None:
    source = "".join(file[1] for file in files("core") if file[0] in ("core/settings.py", "core/legal_settings.py"))
    names = set(re.findall(r'(?:\bget(?:\(|, )|\.upper\(\), )"([A-Z_]+)"', source))
    words = (ROOT / "docs/self-hosting.md").read_text(encoding="utf-8")
    assert len(names) > 15 and not sorted(name for name in names if f"`{name}`" not in words and f"{name}=" not in words)


def emitted() -> set[str]:
    """Return the event types in the code: the arguments of `emit`, and of a file's own `_note` and `_tell` around it."""
    found = set()
    for _, _, tree in files():
        for func, call in calls(tree):
            if func.rpartition(".")[2].lstrip("_").split("_")[0] in ("emit", "note", "tell"):
                for arg in call.args:
                    for node in ast.walk(arg):
                        if isinstance(node, ast.Constant) and isinstance(node.value, str) and re.fullmatch(r"[a-z_]+\.[a-z_]+", node.value):
                            found.add(node.value)
    return found


def test_every_event_is_documented() -> None:
    words, types = (ROOT / "docs/events.md").read_text(encoding="utf-8"), emitted()
    assert len(types) > 30
    assert not sorted(item for item in types if f"`{item}`" not in words), "docs/events.md misses these"


def test_no_host_of_a_developer_is_in_the_repository() -> None:
    """Neither a folder of a developer's computer nor the address of a package mirror is in a file."""
    folders = re.compile(r"(?<![\w.:/-])/(?:work|home|root|Users)/[\w.]+|(?<![\w.-])/tmp/[\w.]+")  # noqa: S108
    registries = re.compile(r"--(?:extra-)?index-url|--find-links|\bindex-url\b|https?://[^\s\"')]*(?:/simple\b|artifactory|nexus|pypi\.)")
    bad = []
    for path in tracked():
        if path.suffix in (".ttf", ".otf", ".png", ".mo", ".ico", ".woff2", ".pdf") or path == Path(__file__):
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
            if folders.search(line) or (registries.search(line) and "--no-emit-index-url" not in line):
                bad.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:120]}")
    assert not bad, "\n".join(bad)


# --- templates

_TRANS = re.compile(r"{%-?\s*trans\b.*?{%-?\s*endtrans\s*-?%}", re.DOTALL)
_JINJA = re.compile(r"{#.*?#}|{%.*?%}|{{.*?}}", re.DOTALL)
_ATTRIBUTE = re.compile(r"[\w-]+=\"[^\"]*\"")  # a macro that writes attributes, seen outside of its tag
UNTRANSLATED = {"PDF", "CSV", "JSON", "ID", "EUR", "USD"}  # the same in every language
SPOKEN = ("title", "alt", "placeholder", "aria-label")


def templates() -> list[Path]:
    return sorted((ROOT / "templates").rglob("*.html"))


def test_templates_do_not_decide_what_is_allowed_by_state() -> None:
    """Pages hand them what `lifecycle.may` and `policy.allows` answer: the states of a running subscription are listed once."""
    listed = re.compile(r"status in \((?=[^)]*'active')(?=[^)]*'on_hold')(?=[^)]*'paused')")
    assert not [path.name for path in (ROOT / "templates").rglob("*.html") if listed.search(path.read_text(encoding="utf-8"))]


def test_templates_hold_no_inline_style_or_handler() -> None:
    """Emails may have inline styles, because mail programs support nothing else."""
    bad = []
    for path in templates():
        bare = re.sub(r"{#.*?#}", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
        name = path.relative_to(ROOT).as_posix()
        if re.search(r"<[^>]*\son[a-z]+\s*=", _JINJA.sub(" ", bare)):
            bad.append(f"{name}: an inline handler")
        if not name.startswith("templates/email/") and re.search(r"<[^>]*\sstyle\s*=", bare):
            bad.append(f"{name}: a style attribute")
    assert not bad


def hard_coded(source: str) -> Iterator[str]:
    """Return template text and read-aloud attributes that are not marked for translation."""
    soup = BeautifulSoup(_JINJA.sub(" ", _TRANS.sub(" ", source)), "html.parser")
    for text in soup.find_all(string=True):
        if not isinstance(text, Comment) and text.parent.name not in ("style", "script") and text.strip() not in UNTRANSLATED:
            if SHOUTED.search(_ATTRIBUTE.sub("", text)) and not text.strip().startswith("html"):
                yield text.strip()
    for tag in soup.find_all(True):
        yield from (f"{name}={tag[name]}" for name in SPOKEN if SHOUTED.search(str(tag.get(name, ""))))


def test_the_check_for_hard_coded_words_finds_them() -> None:
    assert list(hard_coded("<p>Pay now</p>")) == ["Pay now"]
    assert list(hard_coded('<img alt="A cat">')) == ["alt=A cat"]
    assert not list(hard_coded("<p>{{ _('Pay now') }} · {% trans %}All of it{% endtrans %} {# a note #}</p><b>PDF</b>"))


def test_template_text_comes_from_the_catalogs() -> None:
    bad = [f"{path.relative_to(ROOT)}: {word[:80]}" for path in templates() for word in hard_coded(path.read_text(encoding="utf-8"))]
    assert not bad, "\n".join(bad)


def test_breadcrumbs_are_in_their_block() -> None:
    """Messages follow the breadcrumbs. Breadcrumbs in another block would be drawn below the messages, in the console on top of them."""
    wrong = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in sorted((ROOT / "templates").rglob("*.html"))
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if "ui.crumbs(" in line and "{% block crumbs %}" not in line
    ]
    assert not wrong
