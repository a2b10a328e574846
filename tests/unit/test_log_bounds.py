"""What a client sends costs the log no more than its length, and a line of the log stays short."""

from __future__ import annotations

import time
from typing import Any

import pytest

from core import log

LONG = 60_000


@pytest.mark.parametrize("text", [
    "/" + "a" * LONG, "a." * (LONG // 2), "a" * LONG + "@", "a@" * (LONG // 2), "a@" + "b." * (LONG // 2), "a@" + "b-" * (LONG // 2),
    "Bearer" + " " * LONG, "Bearer " * (LONG // 7), "token=" * (LONG // 6), "/session/" * (LONG // 9), "é" * LONG, "+" * LONG + "@a",
], ids=lambda text: f"{text[:8]!r}")
def test_cleaning_text_takes_time_in_proportion_to_its_length(text: str) -> None:
    began = time.perf_counter()
    log.clean(text)
    assert time.perf_counter() - began < 0.5  # about 0.005 s; the quadratic pattern took 20 s


def test_a_line_of_the_log_is_short_whatever_the_request_holds() -> None:
    event: dict[str, Any] = {"path": "/" + "a" * LONG, "method": "M" * LONG, "headers": {"x": "y" * LONG}}
    assert all(len(value) < 2_100 for value in log.redact(None, "info", event).values())


def test_secrets_and_addresses_are_hidden_at_the_start_of_a_long_text_too() -> None:
    line = log.clean("/login/link/s3cr3t from ada@marlow.example " + "a" * LONG)
    assert "s3cr3t" not in line and "ada@" not in line and line.endswith("characters)")


def test_the_end_of_a_long_traceback_is_kept() -> None:
    event = log.redact(None, "error", {"exception": "frame\n" * LONG + "ValueError: for ada@marlow.example"})
    assert "ValueError" in event["exception"] and "ada@" not in event["exception"]


@pytest.mark.parametrize("address", ["ada@marlow.example", "ada+shop@marlow.example", "ada.b-c@mail.marlow.example", "ådå@marlow.example"])
@pytest.mark.parametrize("around", ["{}", "<{}>", "to={}&x=1", "a {} b", "({})", "mailto:{},"])
def test_addresses_are_still_hidden_wherever_they_stand(address: str, around: str) -> None:
    line = log.clean(around.format(address))
    assert "marlow" not in line and "mail:" in line
