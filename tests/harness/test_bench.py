"""`make bench` measures pages that work: the page from hand-written SQL shows the same as ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench.__main__ import compared_page
from bench.world import build
from tests.conftest import on_sqlite


@on_sqlite
def test_both_compared_pages_show_the_same(engine: Any, tmp_path: Path) -> None:
    bench = build(engine, tmp_path, invoices=10)
    try:
        assert compared_page(bench)()
    finally:
        bench.raw.close()
        bench.app.extensions["portal"].database.dispose()
