"""Every sentence named for the catalogues is one that some room still says: the list does not rot."""

from __future__ import annotations

from pathlib import Path

from core.refusals import SENTENCES

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("core", "billing", "auth", "portal", "unified", "tenants")


def test_every_named_sentence_is_said_somewhere() -> None:
    files = [path for room in ROOMS for path in (ROOT / room).rglob("*.py") if path.name != "refusals.py"]
    code = "\n".join(path.read_text(encoding="utf-8") for path in files)
    assert [sentence for sentence in SENTENCES if f'"{sentence}"' not in code] == []


def test_no_sentence_is_named_twice() -> None:
    assert len(SENTENCES) == len(set(SENTENCES))
