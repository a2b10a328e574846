"""Measure pages and compare them with the budgets. Exits with 1 if a ratio is over its budget.

Requests are WSGI calls in this process. Compared calls run in turns, so that other load slows them equally.
"""

from __future__ import annotations

import re
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from datetime import datetime
from pathlib import Path
from typing import Any

from werkzeug.test import EnvironBuilder

from bench.by_hand import by_hand
from bench.world import INVOICES, Bench, build
from portal import cursor

BUDGETS = {  # design §11
    "dashboard / no-op view": 25.0,
    "60 subscriptions / hand-written SQL": 1.5,
    f"history at row {INVOICES - 1000:,} / at row 0": 1.5,
}
ROUNDS, WARM = 40, 5


def measure(bench: Bench) -> dict[str, float]:
    history = "/billing-history"
    deep = f"{history}?before={_mark(bench, INVOICES - 1000)}"
    ours = compared_page(bench)
    first = race({"nothing": _get(bench, "/bench/nothing", bench.ada), "dashboard": _get(bench, "/", bench.ada)})
    second = race({"ours": ours, "by hand": ours}, around={"by hand": lambda: by_hand(bench)})
    third = race({"top": _get(bench, history, bench.wim), "deep": _get(bench, deep, bench.wim)})
    for name, seconds in {**first, **second, **third}.items():
        print(f"    {name:<12} {seconds * 1000:8.2f} ms")
    return dict(
        zip(BUDGETS, (first["dashboard"] / first["nothing"], second["ours"] / second["by hand"], third["deep"] / third["top"]), strict=True)
    )


def compared_page(bench: Bench) -> Callable[[], bytes]:
    """Return the page that is compared with hand-written SQL. Raises AssertionError if both do not show the same, with 60 rows."""
    page = _get(bench, "/subscriptions", bench.ada)
    shown = _shown(page())
    assert len(_rows(shown)) == 60, f"{len(_rows(shown))} rows"
    with by_hand(bench):
        assert _shown(page()) == shown, "the hand-written page shows something else"
    return page


def _shown(page: bytes) -> bytes:
    """Return the page without what differs at each request: the nonce of its scripts and the token of its forms."""
    return re.sub(rb'(nonce|name="csrf_token" value)="[^"]*"', rb"\1", page)


def _rows(page: bytes) -> set[bytes]:
    return set(re.findall(rb'href="(/subscriptions/sub_[^"/?]+)"', page))


def race(calls: dict[str, Callable[[], Any]], around: dict[str, Callable[[], Any]] | None = None) -> dict[str, float]:
    """Return the lower quartile of the seconds of each call, which other load on the machine hardly changes. Calls run in turns."""
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for n in range(WARM + ROUNDS):
        for name, call in calls.items():
            with (around or {}).get(name, nullcontext)():
                begun = time.perf_counter()
                call()
                if n >= WARM:
                    taken[name].append(time.perf_counter() - begun)
    return {name: statistics.quantiles(values, n=4)[0] for name, values in taken.items()}


def _get(bench: Bench, path: str, cookie: str) -> Callable[[], bytes]:
    environ = EnvironBuilder(path=path, base_url="http://localhost", headers={"Cookie": cookie, "User-Agent": "bench"}).get_environ()
    answered: list[str] = []

    def call() -> bytes:
        answered.clear()
        parts = bench.app.wsgi_app(dict(environ), lambda status, *_: answered.append(status))  # type: ignore[arg-type,return-value]
        try:
            body = b"".join(parts)
        finally:
            getattr(parts, "close", lambda: None)()
        assert answered[0].startswith("200"), f"{path}: {answered[0]}"
        return body

    return call


def _mark(bench: Bench, row: int) -> str:
    """Return the cursor of the page that begins at that row of Wim's history."""
    bench.raw.rollback()
    at, item = bench.raw.execute(
        f"SELECT created_at, id FROM payments WHERE customer_id = '{bench.wims.customer_id}' ORDER BY created_at DESC, id DESC"
        f" LIMIT 1 OFFSET {row - 1}"
    ).fetchone()
    bench.raw.rollback()
    return cursor.write(datetime.fromisoformat(at) if isinstance(at, str) else at, item)


def main() -> int:
    from tests.engines import Postgres, Sqlite

    over = 0
    for make in (Sqlite, Postgres):
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            engine = make(Path(folder))
            print(f"{engine.name}: 20 businesses, 60 subscriptions, {INVOICES:,} invoices", flush=True)
            bench = build(engine, Path(folder))
            try:
                for name, ratio in measure(bench).items():
                    over += ratio > BUDGETS[name]
                    print(f"  {'over  ' if ratio > BUDGETS[name] else 'within'} {ratio:6.2f} of {BUDGETS[name]:5.2f}  {name}", flush=True)
            finally:
                bench.raw.close()
                bench.app.extensions["portal"].database.dispose()
                if make is Postgres:
                    engine.close()
    return 1 if over else 0


if __name__ == "__main__":
    sys.exit(main())
