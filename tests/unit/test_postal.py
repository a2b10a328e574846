"""Addresses are formatted in the order of their country, without losing a part."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.model.postal_addresses import address_lines
from billing.subscriptions.billing_details import COUNTRIES


@pytest.mark.parametrize(("country", "parts", "lines"), [
    ("GB", ("14 Tanner Street", "London", "", "SE1 3LD"), ["14 Tanner Street", "London SE1 3LD"]),
    ("US", ("742 Evergreen Terrace", "Springfield", "IL", "62701"), ["742 Evergreen Terrace", "Springfield, IL 62701"]),
    ("US", ("742 Evergreen Terrace", "Springfield", "", "62701"), ["742 Evergreen Terrace", "Springfield 62701"]),
    ("US", ("", "", "IL", ""), ["IL"]),
    ("DE", ("Lindenallee 9", "Leipzig", "", "04109"), ["Lindenallee 9", "04109 Leipzig"]),
    ("DE", ("Lindenallee 9", "Leipzig", "Sachsen", "04109"), ["Lindenallee 9", "04109 Leipzig", "Sachsen"]),
    ("SE", ("Storgatan 1", "Stockholm", "", "114 55"), ["Storgatan 1", "114 55 Stockholm"]),
    ("BR", ("Rua Augusta 77", "São Paulo", "SP", "01305-000"), ["Rua Augusta 77", "São Paulo-SP 01305-000"]),
    ("CA", ("1 Rue", "Montréal", "QC", "H2X 1Y4"), ["1 Rue", "Montréal QC H2X 1Y4"]),
    ("AU", ("1 George St", "Sydney", "NSW", "2000"), ["1 George St", "Sydney NSW 2000"]),
    ("IT", ("Via Roma 1", "Torino", "TO", "10121"), ["Via Roma 1", "10121 Torino TO"]),
    ("JP", ("3-1 Sakuragaoka", "Shibuya", "Tokyo", "150-0031"), ["3-1 Sakuragaoka, Shibuya, Tokyo", "150-0031"]),
    ("JP", ("桜丘町3-1", "渋谷区", "東京都", "150-0031"), ["〒150-0031", "東京都 渋谷区", "桜丘町3-1"]),
    ("HK", ("1 Harbour Road", "Wan Chai", "", "999077"), ["1 Harbour Road", "Wan Chai", "999077"]),
    ("SG", ("1 Raffles Place", "Singapore", "", "048616"), ["1 Raffles Place", "SINGAPORE 048616"]),
    ("ZZ", ("1 Road", "Town", "Land", "123"), ["1 Road", "123 Town", "Land"]),
    ("", ("", "", "", ""), []),
])  # fmt: skip
def test_addresses_follow_the_order_of_their_country(country: str, parts: tuple[str, ...], lines: list[str]) -> None:
    assert address_lines(dict(zip(("street", "city", "state", "zipcode"), parts, strict=True), country=country)) == lines


def test_an_empty_address_is_formatted() -> None:
    assert address_lines(None) == [] == address_lines({"country": None})


part = st.sampled_from(["", "Alpha", "Beta 7", "Gamma", "港区", "12345", "Ελλάδα"])


@given(st.sampled_from(sorted(COUNTRIES)), st.fixed_dictionaries({name: part for name in ("street", "city", "state", "zipcode")}))
def test_no_part_of_an_address_is_lost(country: str, parts: dict[str, Any]) -> None:
    printed = "\n".join(address_lines({**parts, "country": country}))
    for value in parts.values():
        assert value in printed
    assert all(line == line.strip(" ,-") for line in printed.split("\n"))
