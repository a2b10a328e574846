"""Every path of a file or folder that the documentation names exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.house.test_rules import ROOT

PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / ".github").rglob("*.md")),
]
ROOMS = "auth|bench|bin|billing|core|deploy|docs|gateways|migrations|portal|static|templates|tenants|tests|translations|unified"
ROOMS_OF_CODE = ("auth", "billing", "core", "gateways", "portal", "tenants", "unified")
FILE = re.compile(rf"(?:{ROOMS})/[\w/.-]*|[\w-]+\.(?:py|cfg|toml|yaml)")
OUTSIDE = {"postgresql.auto.conf", "docker-compose.yml"}  # files that are not part of this repository


def named_paths(text: str) -> set[str]:
    """The paths in backticks. A word such as `tests/house/test_x.py::test_y` counts up to the colons."""
    inline = re.findall(r"`([^`\s]+)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))
    return {item for item in (word.split("::")[0].split(":")[0].split("#")[0] for word in inline) if FILE.fullmatch(item)}


def exists(path: str) -> bool:
    """Whether the path exists from the root of the repository; a bare file name may be anywhere in it."""
    if "/" in path:
        return (ROOT / path).exists()
    return path in OUTSIDE or (ROOT / path).is_file() or any(ROOT.glob(f"[a-z]*/**/{path}"))


@pytest.mark.parametrize("page", PAGES, ids=lambda item: item.relative_to(ROOT).as_posix())
def test_paths_in_the_documentation_exist(page: Path) -> None:
    missing = sorted(path for path in named_paths(page.read_text(encoding="utf-8")) if not exists(path))
    assert not missing, f"{page.name} names paths that do not exist"


def test_a_path_that_does_not_exist_is_found() -> None:
    text = "`core/scope.py`, `core/nothing.py`, `wsgi.py`, `billing/model/`, `a.b`\n\n```\n`core/other.py`\n```\n"
    assert named_paths(text) == {"core/scope.py", "core/nothing.py", "wsgi.py", "billing/model/"}
    assert exists("core/scope.py") and exists("billing/model/") and not exists("core/nothing.py")


def test_names_of_the_glossary_are_in_the_code() -> None:
    """The second column of each table of docs/glossary.md, word for word."""
    source = "\n".join(path.read_text(encoding="utf-8") for room in ROOMS_OF_CODE for path in (ROOT / room).rglob("*.py"))
    words = set(re.findall(r"\w+", source)) | {path.stem for room in ROOMS_OF_CODE for path in (ROOT / room).rglob("*")}
    rows = re.findall(r"^\| [^|]+ \| ([^|]+) \|", (ROOT / "docs/glossary.md").read_text(encoding="utf-8"), re.MULTILINE)
    names = {name for cell in rows for name in re.findall(r"`(\w+)`", cell)}
    assert len(names) > 50 and not sorted(names - words)
