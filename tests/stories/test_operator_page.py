"""The operator's page: hidden from strangers, opened by the secret, with recorded actions, and usable in an outage."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import func, select

from auth.models import Identity
from auth.personal_export import PersonExport
from billing.charging.reconciliation_exceptions import ReconciliationException
from billing.model.payments import Payment
from core import clock, job_runs
from core.operations import audit
from core.outbox import Outbox
from core.outbox_claims import LEASE
from core.proxies import TrustedProxies, operator_networks
from core.recurring_jobs import JobFailure
from core.scope import everything, system
from core.services import Services
from core.settings import Misconfigured, Settings
from tenants.operator import access
from tenants.operator.labels import QUEUES
from tenants.webhooks import endpoints, history
from tests.cast import Cast
from tests.conftest import on_sqlite
from tests.harness.database_proxy import database_proxy
from tests.house.test_modes import LIVE, _live, _restamp
from tests.stories.operators import PAGES, SECRET, actions, failed_work, minutes_ago, row_of, sign_in, with_secret
from tests.visitor import Visitor

NETWORK = operator_networks("10.8.0.0/24")


@pytest.fixture
def operator(cast: Cast, app: Flask, services: Services) -> Visitor:
    with_secret(services)
    return sign_in(app)


# --- access


def answer(app: Flask, method: str, path: str, peer: str, host: str = "localhost", **headers: str) -> tuple[Any, ...]:
    """Return status, header names and body, without random values."""
    found = app.test_client().open(path, method=method, headers={"Host": host, **headers}, environ_base={"REMOTE_ADDR": peer})
    body = re.sub(rb'nonce="[^"]+"|value="[^"]+"', b"", found.data).replace(path.encode(), b"")
    return found.status_code, sorted(name for name, _ in found.headers), body


@on_sqlite
@pytest.mark.parametrize(("peer", "host", "headers"), [
    ("203.0.113.7", "localhost", {}),
    ("203.0.113.7", "localhost", {"X-Forwarded-For": "127.0.0.1"}),
    ("127.0.0.1", "localhost", {"X-Forwarded-For": "203.0.113.7"}),  # a proxy that the settings do not know
    ("127.0.0.1", "localhost", {"X-Real-IP": "10.8.0.5"}),
    ("10.8.0.5", "localhost", {"X-Forwarded-For": "203.0.113.7"}),
    ("10.8.0.5", "127.0.0.1", {}),  # from the network, but not by the portal's name
    ("not an address", "localhost", {}),
])  # fmt: skip
def test_for_strangers_the_page_is_not_found(app: Flask, services: Services, peer: str, host: str, headers: dict[str, str]) -> None:
    with_secret(services, operator_networks=NETWORK)
    for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"):
        for path in ("/operator", "/operator/", "/operator/work", "/operator/sign-in", "/operator/nothing"):
            unknown = answer(app, method, path.replace("operator", "operatox"), peer, host, **headers)
            assert answer(app, method, path, peer, host, **headers) == unknown and unknown[0] == 404, (method, path)


@on_sqlite
def test_without_a_secret_there_is_no_operators_page(app: Flask, services: Services) -> None:
    assert not services.settings.operator_secret
    for method in ("GET", "POST", "OPTIONS"):
        assert answer(app, method, "/operator", "127.0.0.1")[0] == 404


@on_sqlite
def test_allowed_networks_reach_the_page_directly_and_behind_proxies(
    services: Services, settings: Settings, make_app: Callable[..., Flask]
) -> None:
    with_secret(services, operator_networks=NETWORK)
    assert answer(operator_app(services), "GET", "/operator", "10.8.0.5")[0] == 200
    behind = make_app(
        replace(settings, operator_secret=SECRET, operator_networks=NETWORK, trusted_proxies=TrustedProxies.parse("127.0.0.1"))
    )
    assert answer(behind, "GET", "/operator", "127.0.0.1", **{"X-Forwarded-For": "203.0.113.7, 10.8.0.5"})[0] == 200
    for forwarded in ("203.0.113.7", "10.8.0.5, 203.0.113.7", "10.8.0.5, unknown"):
        assert answer(behind, "GET", "/operator", "127.0.0.1", **{"X-Forwarded-For": forwarded})[0] == 404, forwarded
    assert answer(behind, "GET", "/operator", "127.0.0.1", **{"Via": "1.1 other"})[0] == 404


def operator_app(services: Services) -> Flask:
    return services.worker.around.__self__  # type: ignore[no-any-return]


@on_sqlite
def test_live_mode_opens_it_to_a_tunnel_by_a_loopback_name(settings: Settings, make_app: Callable[..., Flask]) -> None:
    """`ssh -L 5000:127.0.0.1:5000` gives a plain connection to a host name that live mode does not serve otherwise."""
    _restamp(settings, "live")
    app = make_app(replace(_live(settings), operator_secret=SECRET, operator_networks=NETWORK))
    tunnel, base = app.test_client(), "http://127.0.0.1:5000"
    page = tunnel.get("/operator", base_url=base)
    assert page.status_code == 200 and tunnel.get("/static/portal.css", base_url=base).status_code == 200
    for path in ("/", "/login", "/operators", "/healthy"):
        assert tunnel.get(path, base_url=base).status_code == 421
    token = re.search(r'name="csrf_token" value="([^"]+)"', page.text)
    assert token
    done = tunnel.post("/operator/sign-in", base_url=base, data={"csrf_token": token[1], "secret": SECRET}, headers={"Origin": base})
    assert done.status_code == 303 and "Secure" not in done.headers["Set-Cookie"]
    assert "Overview" in tunnel.get("/operator", base_url=base).text

    away = app.test_client()
    page = away.get("/operator", base_url="https://portal.example", environ_base={"REMOTE_ADDR": "10.8.0.5"})
    token = re.search(r'name="csrf_token" value="([^"]+)"', page.text)
    assert token
    done = away.post(
        "/operator/sign-in",
        base_url="https://portal.example",
        data={"csrf_token": token[1], "secret": SECRET},
        environ_base={"REMOTE_ADDR": "10.8.0.5"},
        headers={"Origin": "https://portal.example"},
    )
    cookie = done.headers["Set-Cookie"]
    assert cookie.startswith("__Secure-operator-live=") and "Secure" in cookie
    _restamp(settings, "test")


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"PORTAL_OPERATOR_NETWORKS": "10.8.0.5/24"}, "PORTAL_OPERATOR_NETWORKS"),
        ({"PORTAL_OPERATOR_NETWORKS": "all"}, "list of addresses"),
        ({"PORTAL_OPERATOR_NETWORKS": "0.0.0.0/0"}, "too large"),
        ({"PORTAL_OPERATOR_SECRET": "short"}, "PORTAL_OPERATOR_SECRET"),
    ],
)
def test_invalid_settings_of_the_page_are_refused(change: dict[str, str], word: str) -> None:
    with pytest.raises(Misconfigured, match=word):
        Settings.from_env(LIVE | change)
    allowed = Settings.from_env(LIVE | {"PORTAL_OPERATOR_NETWORKS": "10.8.0.0/24, 2001:db8::7"}).operator_networks
    assert [str(item) for item in allowed] == ["10.8.0.0/24", "2001:db8::7/128"]


# --- signing in


def test_only_the_secret_opens_the_page(cast: Cast, app: Flask, services: Services) -> None:
    with_secret(services)
    ada = Visitor(app)
    ada.sign_in(cast.ADA)
    for path in PAGES:
        assert ada.get(path).h1 == "Operator sign-in"
    for wrong in ("", "an operator's", SECRET + "x", "é" * 40):
        ada.get("/operator")
        assert ada.submit("sign-in", secret=wrong, expect=403).h1 == "Operator sign-in"
    assert not actions(services)
    ada.submit("sign-in", secret=SECRET)
    assert ada.page is not None and ada.page.h1 == "Overview" and ada.page.response.headers["Cache-Control"] == "no-store"
    assert actions(services) == [("signed_in", "", None, "127.0.0.1")]
    ada.submit("sign-out")
    assert ada.page.h1 == "Operator sign-in" and ada.get("/operator").h1 == "Operator sign-in"
    assert ada.get("/subscriptions").status == 200, "it is no session of the portal"


def test_attempts_over_the_limit_are_refused_even_with_the_secret(app: Flask, services: Services) -> None:
    with_secret(services)
    stranger = Visitor(app)
    for _ in range(access.TRIES):
        stranger.get("/operator")
        stranger.submit("sign-in", secret="wrong", expect=403)
    page = stranger.submit("sign-in", secret=SECRET, expect=429)
    assert "Wait 15 minutes" in page.text and stranger.get("/operator").h1 == "Operator sign-in"


def test_successful_sign_ins_do_not_count_as_attempts(app: Flask, services: Services) -> None:
    with_secret(services)
    for _ in range(access.TRIES + 2):
        assert sign_in(app).page.h1 == "Overview"  # type: ignore[union-attr]


@on_sqlite
def test_the_session_is_a_short_signed_cookie_that_ends_with_the_secret(
    operator: Visitor, app: Flask, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    [cookie] = [item for item in operator.client._cookies.values() if item.key.startswith("operator")]
    assert (cookie.path, cookie.http_only, cookie.same_site, cookie.max_age) == ("/operator", True, "Strict", 3600)
    assert SECRET not in cookie.value
    for value in (cookie.value[:-2], "x", cookie.value.replace(".", "-")):
        forged = Visitor(app)
        forged.client.set_cookie("operator-test", value, path="/operator")
        assert forged.get("/operator").h1 == "Operator sign-in"
    monkeypatch.setattr(access, "LIFETIME", -1)
    assert operator.get("/operator").h1 == "Operator sign-in"
    monkeypatch.undo()
    assert operator.get("/operator").h1 == "Overview"
    services.settings = replace(services.settings, operator_secret="another secret of an operator")
    assert operator.get("/operator").h1 == "Operator sign-in"


def test_every_button_needs_the_forms_own_token_and_our_origin(operator: Visitor, cast: Cast, app: Flask, services: Services) -> None:
    id = failed_work(cast)
    operator.get(f"/operator/work/{id}")
    token = operator.token()
    stranger = Visitor(app)
    stranger.get("/operator")
    outside = stranger.token()
    posts = [
        rule.rule.replace("<work_id>", id)
        for rule in app.url_map.iter_rules()
        if rule.rule.startswith("/operator") and "POST" in (rule.methods or ())
    ]
    assert len(posts) >= 7
    for path in posts:
        for data, headers in (
            ({"csrf_token": ""}, {}),
            ({"csrf_token": outside}, {}),
            ({"csrf_token": token}, {"Origin": "https://evil.example"}),
            ({"csrf_token": token}, {"Sec-Fetch-Site": "cross-site"}),
        ):
            operator.post(path, {**data, "reason": "no", "secret": SECRET, "address": cast.ADA}, headers=headers, expect=400)
        if "sign-in" not in path:
            refused = stranger.post(path, {"csrf_token": outside}, expect=303, follow=False)
            assert refused.location == "/operator", "who has not signed in has no buttons"
    assert row_of(services, id).state == "given_up" and not actions(services, "signed_in")


# --- what it shows


def everything_in(services: Services) -> dict[str, int]:
    from core.models import Base

    with services.database.open(everything("a test counts all rows")) as db:
        return {
            mapper.local_table.name: db.scalar(select(func.count()).select_from(mapper.class_)) or 0  # type: ignore[attr-defined]
            for mapper in Base.registry.mappers
        }


def test_a_get_changes_nothing(operator: Visitor, cast: Cast, services: Services) -> None:
    id = failed_work(cast)
    before, row = everything_in(services), vars(row_of(services, id)).copy()
    for path in (*PAGES, f"/operator/work/{id}"):
        operator.get(path)
    row.pop("_sa_instance_state")
    assert everything_in(services) == before and all(getattr(row_of(services, id), name) == value for name, value in row.items())


def test_the_overview_says_what_needs_attention(operator: Visitor, cast: Cast, services: Services) -> None:
    page = operator.get("/operator")
    assert "Nothing needs attention." in page.text and "No work has failed permanently" in page.text
    assert all(job.name in page.text for job in services.worker.ticks) and "revision " in page.text
    failed_work(cast)
    failed_work(cast, "pending", attempts=0, due_at=minutes_ago(12), error=None)
    with services.database.open(system(cast.acorn), write=True) as db:
        db.add(
            JobFailure(
                business_id=cast.acorn,
                id="renewals:sub_1",
                job="renewals",
                row_id="sub_1",
                failures=3,
                retry_at=minutes_ago(-60),
                error="KeyError: 'ada@marlow.example'",
                began_at=minutes_ago(30),
                failed_at=minutes_ago(1),
            )
        )
        db.add(
            ReconciliationException(
                business_id=cast.acorn, id=cast.ada_at_acorn.payment_id, noun="payment", reason="window_over", noted_at=clock.wall()
            )
        )
    with services.database.open(everything("a job that is late"), write=True) as db:
        db.add(job_runs.JobRun(name="renewals", ran_at=minutes_ago(60), duration_ms=5, succeeded_at=minutes_ago(60)))
        db.add(
            job_runs.JobRun(
                name="dunning", ran_at=minutes_ago(0), duration_ms=5, succeeded_at=minutes_ago(3), failures=2, error="ZoneInfoNotFoundError"
            )
        )
    page = operator.get("/operator")
    for words in (
        "One item of work failed permanently.",
        "The oldest work has waited for 12 minutes.",
        "The job “renewals” has not succeeded for one hour.",
        "One row of a recurring job is failing.",
        "One payment or refund needs reconciliation",
        "Failed: ZoneInfoNotFoundError",
        "failed 3 times",
        "KeyError",
        "one open",
    ):
        assert words in page.text, words


def test_every_queue_says_how_much_waits_and_for_how_long(operator: Visitor, cast: Cast, services: Services) -> None:
    def rows() -> dict[str, str]:
        page = operator.get("/operator")
        assert page.soup is not None
        found = [
            [cell.get_text(" ", strip=True) for cell in row.find_all(["th", "td"])]
            for row in page.soup.select("section[aria-labelledby=queues] > table tbody tr")
        ]
        return {name: " ".join(rest) for name, *rest in found}

    names = set(rows())
    assert names == {str(words) for words in QUEUES.values()} and set(rows().values()) == {"Empty  "}
    with services.database.open(everything("things that wait"), write=True) as db:
        payment = db.scalars(select(Payment).where(Payment.id == cast.ada_at_acorn.payment_id)).one()
        payment.is_open, payment.check_at = True, minutes_ago(3)
        db.add(Identity(identity_id="idt_1", created_at=clock.wall()))
        db.flush()
        db.add(PersonExport(identity_id="idt_1", id="pex_1", created_at=minutes_ago(120)))
    failed_work(cast, "pending", attempts=0, error=None, due_at=minutes_ago(-5))
    failed_work(cast, "pending", attempts=0, error=None, due_at=minutes_ago(2))
    found = rows()
    assert found["Payments without an outcome"] == "one waiting one due oldest: 3 minutes"
    assert found["Account data exports"] == "one waiting one due oldest: 2 hours"
    assert found["Work queue"] == "2 waiting one due oldest: 2 minutes"
    assert f"{cast.acorn} 2 waiting" in operator.get("/operator").text, "and by lane"


def test_a_business_with_a_webhook_backlog_is_listed(operator: Visitor, cast: Cast, services: Services) -> None:
    assert "No backlog" in operator.get("/operator").text
    with services.database.open(system(cast.birch), write=True) as db:
        webhook = endpoints.create(db, services.outgoing, cast.birch, "https://birch.example/hooks")
        endpoints.create(db, services.outgoing, cast.birch, "https://birch.example/more")
        webhook.failing_since = minutes_ago(60)
        db.flush()
        history.send_test(db, webhook.id, "payment.succeeded").due_at = minutes_ago(7)
    page = operator.get("/operator")
    assert page.soup is not None
    [row] = [row.get_text(" ", strip=True) for row in page.soup.select("section[aria-labelledby=webhooks] tbody tr")]
    assert row == f"{cast.birch} one waiting 1 of 2 failing oldest: 7 minutes" and "birch.example" not in page.text


def test_the_page_works_while_the_database_is_away(postgres: Any, past: Any, tmp_path: Any, make_app: Callable[..., Flask]) -> None:
    urls, drop = past(postgres).fresh(tmp_path)
    settings = Settings(data_dir=tmp_path, base_url="http://localhost", operator_secret=SECRET, **urls)
    with database_proxy(settings.database_url) as proxy:
        app = make_app(replace(settings, database_url=proxy.url(settings.database_url)))
        operator = sign_in(app)
        proxy.cut()
        page = operator.get("/operator")
        assert "Does not answer" in page.text and page.h1 == "Overview" and "Queues, failed work and recurring jobs" in page.text
        late = sign_in(app)
        assert late.page is not None and late.page.h1 == "Overview", "signing in needs no database either"
        for _ in range(access.TRIES):
            Visitor(app).post("/operator/sign-in", {"csrf_token": "x"}, expect=400)
        for _ in range(access.TRIES - 1):
            late.client.delete_cookie("operator-test", path="/operator")
            late.get("/operator")
            late.submit("sign-in", secret="wrong", expect=403)
        assert late.submit("sign-in", secret=SECRET, expect=429).status == 429
        proxy.restore()
        assert "Does not answer" not in operator.get("/operator").text
    drop()


# --- buttons


def test_try_again_does_the_work_once_and_is_recorded(operator: Visitor, cast: Cast, services: Services) -> None:
    id = failed_work(cast, done=["webhooks.queue"])
    operator.get("/operator/work")
    page = operator.get(f"/operator/work/{id}")
    assert "Sends the email about it to the customer." in page.text and "queue of the business's webhooks" not in page.text
    assert "SMTPRecipientsRefused" in page.text
    done = operator.submit("/retry")
    assert "The work is being tried again." in done.text and "No work has failed permanently" in done.text
    sent = operator.emails(cast.ADA)
    assert len(sent) == 1 and row_of(services, id).state == "done"
    assert actions(services, "signed_in") == [("tried_again", id, None, "127.0.0.1")]
    assert operator.post(f"/operator/work/{id}/retry").text.count("This is no longer waiting.") == 1
    assert len(operator.emails(cast.ADA)) == 1 and len(actions(services, "signed_in")) == 1


def test_work_is_set_aside_with_a_reason_and_can_be_tried_again(operator: Visitor, cast: Cast, services: Services) -> None:
    id = failed_work(cast)
    operator.get(f"/operator/work/{id}")
    for reason, says in (
        (" ", "Enter a reason"),
        ("x" * 301, "Enter a reason"),
        ("ada@marlow.example is gone", "Leave out email addresses"),
    ):
        assert says in operator.submit("set-aside", reason=reason, expect=422).text
    assert row_of(services, id).state == "given_up" and not actions(services, "signed_in")
    operator.submit("set-aside", reason="The mailbox\n is closed")
    operator.emails()
    assert row_of(services, id).state == "set_aside", "no worker takes it"
    assert actions(services, "signed_in") == [("set_aside", id, "The mailbox is closed", "127.0.0.1")]
    assert "subscription.paused" in operator.get("/operator/work?state=set_aside").text
    page = operator.get(f"/operator/work/{id}")
    assert "The mailbox is closed" in page.text
    operator.submit("/retry")
    assert len(operator.emails(cast.ADA)) == 1


def test_work_under_a_lease_cannot_be_changed(operator: Visitor, cast: Cast, services: Services) -> None:
    """A claimed row is pending and due when its lease ends. Retrying it now could run it twice."""
    held = failed_work(cast, "pending", due_at=clock.wall() + LEASE - timedelta(seconds=5))
    assert "A worker is about to run this" in operator.get(f"/operator/work/{held}").text
    for path in ("retry", "set-aside"):
        page = operator.post(f"/operator/work/{held}/{path}", {"reason": "no", "csrf_token": operator.token()}, expect=409)
        assert "due within two minutes" in page.text
    later = failed_work(cast, "pending", due_at=clock.wall() + timedelta(hours=3))
    operator.get(f"/operator/work/{later}")
    operator.submit("/retry")
    assert row_of(services, later).due_at <= clock.wall() and row_of(services, held).due_at > clock.wall()
    unfailed = failed_work(cast, "pending", attempts=0, error=None)
    operator.get(f"/operator/work/{unfailed}", expect=404)
    assert [action[1] for action in actions(services, "signed_in")] == [later]


def test_retrying_all_of_a_kind_records_each(operator: Visitor, cast: Cast, services: Services) -> None:
    ids = {failed_work(cast), failed_work(cast)}
    other = failed_work(cast, type="subscription.unpaused")
    operator.get("/operator/work")
    operator.submit("operator/retry", type="subscription.paused")
    assert {row_of(services, row_id).state for row_id in ids} == {"pending"} and row_of(services, other).state == "given_up"
    assert {action[1] for action in actions(services, "signed_in")} == ids


def test_a_failed_row_is_retried_in_the_next_run(operator: Visitor, cast: Cast, services: Services) -> None:
    with services.database.open(system(cast.acorn), write=True) as db:
        db.add(
            JobFailure(
                business_id=cast.acorn,
                id="renewals:sub_1",
                job="renewals",
                row_id="sub_1",
                failures=6,
                retry_at=clock.wall() + timedelta(days=1),
                error="KeyError: x",
                began_at=clock.wall(),
                failed_at=clock.wall(),
            )
        )
    operator.get("/operator")
    operator.submit("jobs/retry")
    with services.database.open(everything("a test looks at failures")) as db:
        assert db.scalars(select(JobFailure.retry_at)).one() <= clock.wall()
    assert actions(services, "signed_in") == [("job_tried_again", f"{cast.acorn}/renewals:sub_1", None, "127.0.0.1")]
    assert (
        "no longer waiting"
        in operator.post("/operator/jobs/retry", {"business_id": cast.birch, "id": "renewals:sub_1", "csrf_token": operator.token()}).text
    )


def test_an_action_that_cannot_be_recorded_does_not_happen(
    operator: Visitor, cast: Cast, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    id = failed_work(cast)
    operator.get(f"/operator/work/{id}")

    def broken(*_args: Any, **_kwargs: Any) -> None:
        raise RuntimeError("no room")

    monkeypatch.setattr(audit, "record", broken)
    for path in ("/retry", "set-aside"):
        operator.get(f"/operator/work/{id}")
        operator.submit(path, reason="A reason", expect=500)
    monkeypatch.undo()
    with services.database.open(everything("a test looks at work")) as db:
        assert db.scalars(select(Outbox.state).where(Outbox.id == id)).one() == "given_up"
