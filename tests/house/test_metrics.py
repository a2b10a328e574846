"""Every recurring job, queue and lane has metrics, every metric is documented, and alert rules use only existing metrics."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, get_args

import promql_parser as promql
import pytest
import yaml
from sqlalchemy import event

from billing.charging.measured_calls import CALLS
from billing.charging.ports import ChargeState, Gateway
from core import job_runs, mail_metrics
from core.lanes import Lanes
from core.metrics import instruments
from core.metrics.deployment import QUEUES, STATES
from core.outbox import lane_of
from core.worker import Tick
from tests.cast import Cast
from tests.conftest import on_sqlite
from tests.house.test_rules import ROOMS, calls, emitted, files
from tests.house.test_statements import _grow
from tests.prometheus_text import Scrape, scrape

ROOT = Path(__file__).resolve().parents[2]
RULES = [rule for group in yaml.safe_load((ROOT / "deploy/alerts.yml").read_text(encoding="utf-8"))["groups"] for rule in group["rules"]]
OF_JOBS = (
    "portal_job_interval_seconds",
    "portal_job_last_run_timestamp_seconds",
    "portal_job_last_success_timestamp_seconds",
    "portal_job_last_duration_seconds",
    "portal_job_failing_runs",
    "portal_job_failed_rows",
)
OF_QUEUES = ("portal_queue_items", "portal_queue_oldest_seconds")
FROM_PROMETHEUS = {"up"}
STATEMENTS = 27  # of one scrape, the limit of time included
KNOWN = {  # closed lists whose values are counted only once they happen
    "outcome": {*get_args(ChargeState), "done", "error", *mail_metrics.OUTCOMES},
    "why": {"busy", "slow body", "slow reader"},
    "reason": set(instruments.SIGN_IN_REASONS),
    "status": {"5.."},
    "endpoint": {"healthz", "readyz", "metrics", "static"},
    "job": set(),
}


@lru_cache(maxsize=1)
def sources() -> list[tuple[str, ast.Module]]:
    return [(name, tree) for name, _, tree in files(*ROOMS)]


def missing(app: Any) -> list[str]:
    """Return recurring jobs, lanes and queues without metrics."""
    services, now = app.extensions["portal"], scrape(app)
    jobs = [(tick.name, OF_JOBS, "job") for tick in services.worker.ticks]
    queues = [(item, OF_QUEUES, "queue") for item in (*(lanes.name for lanes in services.worker.lanes), "webhooks", *QUEUES)]
    return [
        f"{name}{{{label}={item!r}}}"
        for item, names, label in (*jobs, *queues)
        for name in names
        if (name, frozenset({(label, item)})) not in now.samples
    ]


@on_sqlite
def test_every_recurring_job_and_queue_has_its_metrics(cast: Cast, app: Any) -> None:
    services = cast.services
    assert len(services.worker.ticks) > 10 and len(services.worker.lanes) >= 5
    assert missing(app) == [], "a new lane needs house.metrics.add_queue(name, waiting)"
    services.worker.lanes.append(Lanes("nobody counts these", services.database, lambda: [], lambda key, turn: True))
    try:
        assert missing(app) == [f"{name}{{queue='nobody counts these'}}" for name in OF_QUEUES], "the check finds what is missing"
    finally:
        services.worker.lanes.pop()


def test_recurring_work_uses_ticks_and_lanes() -> None:
    """Both name themselves to the metrics. A thread that never ends must be listed here, with the place of its metrics."""
    known = {
        "core/lanes.py": "portal_lane_*",
        "core/worker.py": "portal_queue_*, portal_job_*",
        "tenants/webhooks/sending.py": "portal_queue_*: webhooks",
        "tenants/webhooks/thread_pool.py": "as sending.py",
        "core/replica.py": "portal_replica_*",
        "core/lifecycle.py": "starts the worker",
        "core/serving.py": "waits for the supervisor",
        "tenants/external/page_calls.py": "asks for one answer",
        "core/background_calls.py": "calls of one request",
        "core/metrics/snapshot.py": "answers a scrape",
        "core/metrics/listener.py": "answers a scrape",
        "core/address_policy.py": "asks for one address",
        "core/request_threads.py": "answers requests: portal_request_seconds",
    }
    found = {name for name, tree in sources() if any(func.split(".")[-1] == "Thread" for func, _ in calls(tree))}
    assert sorted(found - set(known)) == [], "where are the metrics of what these threads do?"


@on_sqlite
def test_a_job_added_while_running_is_in_the_next_scrape(cast: Cast, app: Any) -> None:
    from datetime import timedelta

    cast.services.worker.ticks.append(Tick("a new one", timedelta(hours=1), lambda: None))
    try:
        assert scrape(app)("portal_job_last_success_timestamp_seconds", job="a new one") == 0
    finally:
        cast.services.worker.ticks.pop()


def test_every_lane_of_the_outbox_belongs_to_a_queue() -> None:
    """The queries of `core/metrics/deployment.py` classify lanes as `lane_of` creates them."""
    lanes = {lane_of(type, business) for type in emitted() for business in (None, "bus_x")}
    assert {"auth", "bus_x"} <= lanes
    assert not [lane for lane in lanes if not re.fullmatch(r"bus_x|[a-z_]+", lane)], "a new kind of lane: name its queue"
    assert len(STATES) == len(set(STATES))


def test_every_processor_operation_is_counted() -> None:
    verbs = {name for name, found in vars(Gateway).items() if callable(found) and not name.startswith("_")}
    assert verbs == set(CALLS)


def test_rate_limit_labels_identify_nobody() -> None:
    """The label is the first word of a limit's key, which is written in the code. The part after the colon is not used."""
    bad = []
    for name, tree in sources():
        for func, call in calls(tree):
            if func.split(".")[-1] != "Limit" or not call.args:
                continue
            key: ast.AST = call.args[0]
            key = key.left if isinstance(key, ast.BinOp) else key
            key = key.values[0] if isinstance(key, ast.JoinedStr) else key
            if not (isinstance(key, ast.Constant) and re.match(r"[a-z_-]+:", str(key.value))):
                if ast.unparse(call.args[0]) != "key":  # budgets.take() passes on what it was given; it refuses nothing
                    bad.append(f"{name}:{call.lineno} {ast.unparse(call.args[0])}")
    assert not bad


# --- what a scrape costs, and what is in it


def test_a_scrape_costs_a_fixed_number_of_statements(cast: Cast, app: Any) -> None:
    def statements(fresh: bool) -> int:
        seen: list[str] = []
        engine = cast.services.database.engine

        def note(_conn: Any, _cursor: Any, sql: str, *_rest: Any) -> None:
            if not sql.startswith(("BEGIN", "COMMIT", "ROLLBACK", "SELECT set_config", "PRAGMA")):
                seen.append(sql)

        event.listen(engine, "after_cursor_execute", note)
        try:
            scrape(app, fresh)
        finally:
            event.remove(engine, "after_cursor_execute", note)
        return len(seen)

    few = statements(fresh=True)
    assert 8 < few <= STATEMENTS
    _grow(cast, 3, 2)
    assert statements(fresh=True) == few
    assert statements(fresh=False) == 0, "asked again within ten seconds"


def test_no_label_holds_an_id_or_address(cast: Cast, app: Any) -> None:
    app.test_client().get(f"/business/{cast.acorn}/")
    app.test_client().get("/login/link/a-secret-token")
    now = scrape(app)
    values = {value for _, labels in now.samples for _, value in labels}
    assert len(values) > 50
    prefixes = tuple(f"{cast.acorn[:3]}_ cus_ sub_ pay_ inv_ evt_ idn_".split())
    assert not [item for item in values if "@" in item or item.startswith(prefixes) or cast.acorn in item or "secret-token" in item]
    views = set(app.view_functions)  # tests of one process share the counters: `oidc.token` is there once an app signed somebody in
    assert not [item for item in values - views if "token" in item.split(".")[-1][:6]]
    assert len(now.samples) < 3000


# --- the rules


@pytest.fixture(scope="module")
def everything_there_is(tmp_path_factory: pytest.TempPathFactory, past: Any, sqlite: Any) -> Iterator[Scrape]:
    """Return one scrape of a portal with a replica, after an email was sent."""
    from core.settings import Settings
    from wsgi import create_app

    folder = tmp_path_factory.mktemp("metrics")
    urls, drop = past(sqlite).fresh(folder)
    app = create_app(Settings(data_dir=folder, base_url="http://localhost", database_replica_url=urls["database_url"], **urls))
    services = past(sqlite).for_services(app.extensions["portal"]).services
    with mail_metrics.counted("sign_in"):
        pass
    job_runs.run(services.database, "renewals", lambda: None)
    with pytest.raises(ZeroDivisionError):
        job_runs.run(services.database, "reconcile", lambda: 1 / 0)
    for lanes in services.worker.lanes:
        lanes._take_turn("nobody")
    instruments.REFUSED.labels("busy").inc(0)
    instruments.THROTTLED.labels("email").inc(0)
    scrape(app)  # the requests are counted from the first answer on
    yield scrape(app)
    services.database.dispose()
    drop()


def selectors(expression: Any) -> Iterator[Any]:
    """Return every metric that an expression reads."""
    if isinstance(expression, promql.VectorSelector):
        yield expression
        return
    for name in ("lhs", "rhs", "expr", "vector_selector", "param"):
        found = getattr(expression, name, None)
        if found is not None and not isinstance(found, str | float | int):
            yield from selectors(found)
    for item in getattr(expression, "args", None) or ():
        yield from selectors(item)


@pytest.mark.parametrize("rule", RULES, ids=lambda item: item["alert"])
def test_every_rule_reads_metrics_and_labels_that_exist(rule: dict[str, Any], everything_there_is: Scrape) -> None:
    found = list(selectors(promql.parse(rule["expr"])))
    assert found and {item.name for item in found} == set(re.findall(r"\b(portal_\w+|up)\b", rule["expr"]))
    for item in found:
        assert item.name in everything_there_is.names | FROM_PROMETHEUS, item.name
        for matcher in item.matchers.matchers:
            if item.name in FROM_PROMETHEUS:
                continue
            there = {labels.get(matcher.name) for labels in everything_there_is.labels(item.name)}
            assert there - {None}, f"{item.name} has no label {matcher.name}"
            for value in matcher.value.split("|"):
                assert value in there | KNOWN.get(matcher.name, set()), f"{item.name}{{{matcher.name}={value!r}}}"
    by = set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"])) - {"instance"}
    there = {name for item in found for labels in everything_there_is.labels(item.name) for name in labels}
    assert by <= there


@pytest.mark.parametrize("rule", RULES, ids=lambda item: item["alert"])
def test_every_rule_is_explained(rule: dict[str, Any]) -> None:
    words = (ROOT / "docs/alerts.md").read_text(encoding="utf-8")
    assert set(rule) == {"alert", "expr", "for", "labels", "annotations"} and rule["labels"]["severity"] in ("page", "ticket")
    assert re.fullmatch(r"[1-9]\d*[mh]", rule["for"])
    assert rule["annotations"]["runbook"] == f"docs/alerts.md#{rule['alert'].lower()}"
    section = re.search(rf"^### {rule['alert']}\n(.+?)(?=^#|\Z)", words, re.MULTILINE | re.DOTALL)
    assert section and len(section[1].split()) > 10


def test_no_alert_is_explained_that_does_not_exist() -> None:
    words = (ROOT / "docs/alerts.md").read_text(encoding="utf-8")
    assert re.findall(r"^### (\w+)$", words, re.MULTILINE) == [rule["alert"] for rule in RULES]


def test_every_metric_is_documented(everything_there_is: Scrape) -> None:
    table = (ROOT / "docs/alerts.md").read_text(encoding="utf-8").split("## The metrics")[1].split("## The alerts")[0]
    documented = set(re.findall(r"`(portal_\w+)`", table))
    there = {name for name in everything_there_is.names if name.startswith("portal_")}
    families = {re.sub(r"_(bucket|sum|count|created)$", "", name) for name in there} - {""}
    assert families == documented


@pytest.mark.parametrize("broken", ["up{job=", "sum by (x (portal_y)", "rate(portal_x)"])
def test_the_check_of_expressions_refuses_what_prometheus_would(broken: str) -> None:
    with pytest.raises(ValueError):
        promql.parse(broken)


def test_the_proxies_do_not_expose_metrics() -> None:
    assert "respond /metrics 404" in (ROOT / "deploy/Caddyfile").read_text(encoding="utf-8")
    assert re.search(r"location = /metrics \{\s*return 404;", (ROOT / "deploy/nginx.conf").read_text(encoding="utf-8"))
