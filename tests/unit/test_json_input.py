"""JSON input that both engines cannot store, or clients cannot read again, is refused by name."""

from __future__ import annotations

import json
from typing import Any

import pytest

from core.json_input import DEPTH, OutOfRange, UnreadableJson, read_json


@pytest.mark.parametrize("number", ["1e999", "-1e999", "1" + "0" * 400, "-" + "9" * 30, str(2**63), "9" * 5000, "1e400"])
def test_numbers_that_no_column_holds_are_out_of_range(number: str) -> None:
    with pytest.raises(OutOfRange) as wrong:
        read_json(f'{{"metadata": {{"count": {number}}}}}')
    assert wrong.value.field == "metadata.count"
    with pytest.raises(OutOfRange):
        read_json(number)
    with pytest.raises(OutOfRange) as wrong:
        read_json(f'{{"a": [1, {{"b": {number}}}]}}')
    assert wrong.value.field == "a.1.b"


@pytest.mark.parametrize("number", ["0", "-0.0", "1e308", "5e-324", "1e-999", str(2**63 - 1), str(-(2**63)), "0.1"])
def test_numbers_that_fit_are_read_as_they_are(number: str) -> None:
    assert read_json(number) == json.loads(number)


@pytest.mark.parametrize("raw", [
    b"", b"{", b"NaN", b"[Infinity]", b'{"a": -Infinity}', b"\xff\xfe", b'"\\u0000"', b'{"a\\u0000": 1}', b'{"a": ["\\ud800"]}',
    b'{"\\udc00": 1}', b"[" * 100_000, b"[" * 100 + b"]" * 100, b'{"a":' * 30_000,
])  # fmt: skip
def test_text_that_cannot_be_stored_is_refused(raw: bytes) -> None:
    with pytest.raises(UnreadableJson):
        read_json(raw)


def test_text_numbers_and_depth_within_bounds_are_read() -> None:
    sent: Any = {"a": ["é", "😀", "\\u0000", 1, 2.5, None, True]}
    assert read_json(json.dumps(sent)) == sent == read_json(json.dumps(sent, ensure_ascii=False).encode())
    deep = "[" * (DEPTH - 1) + "]" * (DEPTH - 1)
    assert read_json(deep) == json.loads(deep)
