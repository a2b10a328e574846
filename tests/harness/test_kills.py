"""A short run of the kill harness on both engines, and a check that it reports doubled and lost charges."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from core.settings import Settings
from tests.harness.kills import Nothing, run
from tests.harness.ledger_comparison import Figures, compare
from tests.harness.money_operations import OPERATIONS, Stage
from tests.stories.business_and_buyer import Site
from tests.stories.crash_and_restart import start


def test_every_operation_survives_kills(settings: Settings, tmp_path: Path) -> None:
    figures = run(settings, tmp_path, 10, list(OPERATIONS), seed=int(time.time()))
    assert {name: item.kills for name, item in figures.items()} == {"renewal": 3, "dues": 3, "plan change": 2, "refund": 2}
    assert all(figure.is_clean for figure in figures.values()), figures


def test_doubled_and_lost_charges_are_reported(settings: Settings, tmp_path: Path, engine: Any) -> None:
    if engine.name != "sqlite":
        pytest.skip("how figures are made knows no engine")
    services = start(Nothing(settings, tmp_path))
    site = Site.open(services)
    stage, figures = Stage(site), Figures()
    act = stage.refund()
    act.do()
    compare(site, act, figures, True)
    assert figures.is_clean
    with site.gateway.store.write() as c:  # the provider did it once more, under a key we know nothing of
        c.execute(
            "INSERT INTO operations SELECT key || 'x', reference || 'x', kind, parameters, business_id, customer_id, amount,"
            " currency, state, error_code, method, challenged, charge_key, description, return_url, due_at, created, settled_at, account"
            " FROM operations WHERE key LIKE '%refund:%'"
        )
    compare(site, act, figures, False)
    assert (figures.doubled, figures.lost, figures.stuck) == (1, 1, 1)
    services.database.dispose()
