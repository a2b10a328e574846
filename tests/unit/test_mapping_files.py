"""The file that moves saved methods: CSV or JSON lines, read whole or refused with the number of each wrong line."""

from __future__ import annotations

import pytest

from billing.charging import method_moves
from billing.charging.method_moves import BadLines, MoveLine, read_lines

TWICE, FIELDS, CHARACTERS = "twice", "fields old and new", "characters"


@pytest.mark.parametrize(
    "text",
    [
        "old,new\npm_1,pm_2\n",
        "\ufeffold,new\r\npm_1,pm_2\r\n",
        'new,"old",note\npm_2, pm_1 ,"a\nb"\n',
        '{"old": "pm_1", "new": "pm_2", "more": [1]}',
        '\n\n{"old": " pm_1", "new": "pm_2"}\n\n',
    ],
)
def test_both_formats_are_read(text: str) -> None:
    assert [(line.old, line.new) for line in read_lines(text)] == [("pm_1", "pm_2")]


def test_lines_are_counted_as_in_an_editor() -> None:
    assert read_lines("old,new\na,b\nc,d\n") == [MoveLine(2, "a", "b"), MoveLine(3, "c", "d")]
    assert [line.number for line in read_lines('{"old":"a","new":"b"}\n\n{"old":"c","new":"d"}')] == [1, 3]


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ("", [(1, "no lines")]),
        ("old,new\n", [(1, "no lines")]),
        ("pm_1,pm_2\npm_3,pm_4\n", [(2, FIELDS)]),
        ("old;new\npm_1;pm_2\n", [(2, FIELDS)]),
        ("old,new\npm_1\npm_3,\n ,pm_5\n", [(2, FIELDS), (3, FIELDS), (4, FIELDS)]),
        ('{"old": "a", "new": "b"}\nnot json\n[1]\n7\n"old"\nnull\n', [(n, FIELDS) for n in range(2, 7)]),
        ('{"old": 1, "new": "b"}\n{"old": ["a"], "new": null}', [(1, FIELDS), (2, FIELDS)]),
        ('{"old": ' + "[" * 100_000, [(1, FIELDS)]),
        ("old,new\na,b\na,c\n", [(3, TWICE)]),
        ("old,new\na,b\nc,b\n", [(3, TWICE)]),
        ("old,new\na,b\na,b\na,b\n", [(3, TWICE), (4, TWICE)]),
        (
            '{"old": "a\\u0000", "new": "b"}\n{"old": "\\ud800", "new": "b"}\n{"old": "a b", "new": "b"}',
            [(n, CHARACTERS) for n in (1, 2, 3)],
        ),
        (f"old,new\n{'a' * 256},b\n", [(2, CHARACTERS)]),
        (f"old,new\na,b\n{'a' * 200_000},b\n", [(3, "cannot be read")]),
    ],
)
def test_wrong_lines_are_named(text: str, problems: list[tuple[int, str]]) -> None:
    with pytest.raises(BadLines) as bad:
        read_lines(text)
    assert [number for number, _ in bad.value.problems] == [number for number, _ in problems]
    assert all(words in sentence for (_, sentence), (_, words) in zip(bad.value.problems, problems, strict=True)), bad.value.problems


def test_a_file_has_a_limit_of_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(method_moves, "MOST_LINES", 2)
    assert len(read_lines("old,new\na,b\nc,d\n")) == 2
    with pytest.raises(BadLines, match="1 lines"):
        read_lines("old,new\na,b\nc,d\ne,f\n")
