"""Processes that are killed, and answers that are lost, while Stripe charges and refunds: nothing is doubled, lost or left open.

`python -m tests.harness.stripe_kills --kills 1000` is the long run.
"""

from __future__ import annotations

import time
from dataclasses import replace

from core.settings import Settings
from tests.harness.money_operations import OPERATIONS
from tests.harness.stripe_kills import run


def test_every_operation_at_stripe_survives_kills_and_lost_answers(settings: Settings) -> None:
    figures, _ = run(replace(settings, outgoing_loopback=True), 8, list(OPERATIONS), seed=int(time.time()))
    assert {name: item.kills for name, item in figures.items()} == {"renewal": 2, "dues": 2, "plan change": 2, "refund": 2}
    assert all(figure.is_clean for figure in figures.values()), figures
