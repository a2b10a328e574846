"""The harness in short, on both engines: some deaths of every operation, and proof that it would tell of a doubled or lost charge."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from core.settings import Settings
from tests.harness.acts import OPERATIONS, Stage
from tests.harness.books import Figures, compare
from tests.harness.kills import Nothing, run
from tests.stories.restart import start
from tests.stories.shop import Shop


def test_some_deaths_of_everything(settings: Settings, tmp_path: Path) -> None:
    figures = run(settings, tmp_path, 10, list(OPERATIONS), seed=int(time.time()))
    assert {name: one.kills for name, one in figures.items()} == {"renewal": 3, "dues": 3, "plan change": 2, "refund": 2}
    assert all(one.is_clean for one in figures.values()), figures


def test_it_tells_what_went_wrong(settings: Settings, tmp_path: Path, engine: Any) -> None:
    if engine.name != "sqlite":
        pytest.skip("how figures are made knows no engine")
    house = start(Nothing(settings, tmp_path))
    shop = Shop.open(house)
    stage, figures = Stage(shop), Figures()
    act = stage.refund()
    act.do()
    compare(shop, act, figures, True)
    assert figures.is_clean
    with shop.gateway.store.write() as c:  # the provider did it once more, under a key we know nothing of
        c.execute("INSERT INTO operations SELECT key || 'x', reference || 'x', kind, parameters, business_id, customer_id, amount,"
                  " currency, state, error_code, method, challenged, charge_key, description, return_url, due_at, created, settled_at"
                  " FROM operations WHERE key LIKE '%refund:%'")
    compare(shop, act, figures, False)
    assert (figures.doubled, figures.lost, figures.stuck) == (1, 1, 1)
    house.database.dispose()


