"""CSV for spreadsheets: every field is quoted, no cell is a formula, and numbers are unchanged."""

from __future__ import annotations

import csv
import io
import re
from decimal import Decimal

import pytest

from core.csv_text import csv_cell, csv_text

SIGNS = "=+-@\uff1d\uff0b\uff0d\uff20"


@pytest.mark.parametrize("sign", SIGNS)
@pytest.mark.parametrize("before", ["", " ", "\u00a0", "\ufeff", "\t", "\r", "\n", "x,", "x;", "x\t", "x|", "x\n", "x; ", 'x,"',
                                    "x;\u200b"])  # fmt: skip
def test_no_field_or_part_of_it_is_a_formula(sign: str, before: str) -> None:
    written = csv_text([[f"{before}{sign}cmd|' /C calc'!A0"]])
    assert written.startswith('"') and written.endswith('"\r\n')
    [[read]] = list(csv.reader(io.StringIO(written, newline="")))
    for part in re.split(r"[,;|\t\r\n]", read):
        assert part.strip(' \u00a0\ufeff\u200b"')[:1] not in tuple(SIGNS), read


def test_every_field_is_quoted_and_reads_back() -> None:
    row = ["Ada", 'says "hi"', "a,b", "line\r\nbreak", "", None, 5]
    written = csv_text([row])
    assert written == '"Ada","says ""hi""","a,b","line\r\nbreak","","","5"\r\n'
    assert list(csv.reader(io.StringIO(written, newline=""))) == [["" if item is None else str(item) for item in row]]


@pytest.mark.parametrize("cell", [-5, -12.5, Decimal("-0.01"), "1200", "0", 7])
def test_numbers_stay_numbers(cell: object) -> None:
    assert csv_cell(cell) == str(cell)


@pytest.mark.parametrize("cell", ["Ada Marlow", "ada@marlow.example", "O'Neil-Smith", "14 Tanner Street, London", "a - b", "2026-01-31"])
def test_ordinary_text_is_left_alone(cell: str) -> None:
    assert csv_cell(cell) == cell


@pytest.mark.parametrize("cell", ["-1", "-5+2", "-1-1", "+441632960961", "-x", "--1", "-5;=1"])
def test_text_that_begins_like_a_number_is_text(cell: str) -> None:
    assert csv_cell(cell).startswith("'")
