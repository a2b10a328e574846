"""Email addresses: which are accepted, and the folded key by which people are found."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.model.email_address import clean_address, fold_address
from core.errors import Invalid


@pytest.mark.parametrize(
    ("written", "key"),
    [
        ("Ada@Marlow.Example", "ada@marlow.example"),
        ("  ada@marlow.example ", "ada@marlow.example"),
        ("ada.m+notes@marlow.example", "ada.m+notes@marlow.example"),  # dots and plus suffixes are significant
        ("ada@bücher.example", "ada@xn--bcher-kva.example"),
        ("ada@xn--bcher-kva.example", "ada@xn--bcher-kva.example"),
        ("ADA@BÜCHER.example", "ada@xn--bcher-kva.example"),
    ],
)
def test_the_same_mailbox_has_the_same_key(written: str, key: str) -> None:
    assert fold_address(written) == key


def test_confusable_characters_are_other_mailboxes() -> None:
    assert fold_address("аda@marlow.example") != fold_address("ada@marlow.example")  # the first letter is Cyrillic


def test_the_typed_address_is_kept_for_sending() -> None:
    assert clean_address("Ada@Marlow.example")[0] == "Ada@marlow.example"


@pytest.mark.parametrize(
    "bad",
    [
        "",
        "ada",
        "ada@",
        "@marlow.example",
        "a b@marlow.example",
        "ada@marlow.example\nBcc: ben@hill.example",
        None,
        7,
        "ada@marlow.example,ben@hill.example",
        "ada@" + "x" * 320 + ".example",
        "Ada <ada@marlow.example>",
        "ada@[127.0.0.1]",
    ],
)
def test_anything_but_one_address_is_refused(bad: object) -> None:
    with pytest.raises(Invalid) as refused:
        fold_address(bad)  # type: ignore[arg-type]
    assert "email" in refused.value.fields


@given(st.text(max_size=40))
def test_folding_a_key_again_changes_nothing(text: str) -> None:
    try:
        key = fold_address(f"{text}@marlow.example")
    except Invalid:
        return
    assert fold_address(key) == key
