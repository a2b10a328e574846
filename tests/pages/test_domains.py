"""Custom domains: verified by DNS, serving only the business's pages, with sessions that depend on the portal's session."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from sqlalchemy import delete, select, update

from auth.domains.dns import Unknown
from auth.domains.models import Domain, DomainCode, DomainSession
from auth.models import BrowserSession
from billing.customers.customers import create_customer
from core import clock
from core.outbox import Event
from core.recurring_jobs import JobFailure, system
from core.scope import everything
from tests.pagelint import lint
from tests.pages.console_setup import Site
from tests.visitor import Page, Visitor

pytestmark = pytest.mark.one_engine  # what people see and type; other tests run these statements on both

HOST = "billing.acorn.example"


class Dns:
    """The DNS records of the test."""

    def __init__(self) -> None:
        self.says: dict[str, list[str]] = {}
        self.silent = False

    def __call__(self, name: str) -> list[str]:
        if self.silent:
            raise Unknown("no answer")
        return self.says.get(name, [])


class Served(Site):
    dns: Dns

    @property
    def binding(self) -> Any:
        return self.app.extensions["domains"]

    def bind(self) -> Domain:
        """Add and verify Acorn's domain once."""
        found = self.row(Domain, Domain.host == HOST, Domain.removed_at.is_(None))
        if found is None:
            self.sam.get(self.at("/domain"))
            self.save("/domain", host=HOST)
            found = self.row(Domain, Domain.host == HOST, Domain.removed_at.is_(None))
        self.dns.says = {self.binding.record(found)[0]: [self.binding.record(found)[1]]}
        if found.verified_at is None:
            self.sam.get(self.at("/domain"))
            self.save(f"/domain/{found.id}/check")
        return self.row(Domain, Domain.id == found.id)


@pytest.fixture(scope="module")
def site(sqlite: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    urls, drop = sqlite.fresh()
    item = Served.open(urls, tmp_path_factory.mktemp("domains"))
    item.dns = item.binding.resolve = Dns()
    yield item
    item.services.database.dispose()
    drop()


@pytest.fixture(autouse=True)
def unlimited_emails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("auth.rate_limits.emails", lambda *_: [])


def at(browser: Visitor, path: str, host: str = HOST, method: str = "GET", follow: bool = True, **kwargs: Any) -> Any:
    """Return the answer at a host, with redirects between hosts followed; `.url` is its URL."""
    url = f"http://{host}{path}"
    for _ in range(8):
        parts = urlsplit(url)
        answer = browser.client.open(
            parts.path + (f"?{parts.query}" if parts.query else ""),
            method=method,
            headers=browser.headers,
            base_url=f"http://{parts.netloc}",
            **kwargs,
        )
        answer.url = url
        if not follow or answer.status_code not in (301, 302, 303):
            break
        to, method, kwargs = answer.headers["Location"], "GET", {}
        url = to if urlsplit(to).netloc else f"http://{parts.netloc}{to}"
    if answer.mimetype == "text/html" and answer.data:
        lint(answer.text, url)
    return answer


def test_a_domain_is_served_only_after_verification(site: Served) -> None:
    sam = site.sam
    assert at(Visitor(site.app), "/").status_code == 421
    sam.get(site.at("/domain"))
    for wrong in (
        "",
        "acorn",
        "localhost",
        "x.localhost",
        "10.0.0.1",
        "billing acorn.example",
        "-a.example",
        "a..example",
        "http://[::1]/",
    ):
        page = site.save("/domain", host=wrong, expect=422)
        assert page.soup.find(id="host-error"), wrong
    site.save("/domain", host="https://Billing.Acorn.example/")
    row = site.row(Domain)
    assert row.host == HOST and row.verified_at is None
    page = sam.get(site.at("/domain"))
    name, text = site.binding.record(row)
    assert name == "_portal." + HOST and text in page.text and "Not active yet" in page.text
    site.dns.says = {name: ["portal-domain=somebody else's"]}
    assert "The DNS record was not found" in site.save(f"/domain/{row.id}/check").text
    site.dns.silent = True
    sam.get(site.at("/domain"))
    assert "did not answer" in site.save(f"/domain/{row.id}/check").text
    site.dns.silent, site.dns.says = False, {name: ["v=spf1 -all", text]}
    assert at(Visitor(site.app), "/").status_code == 421
    sam.get(site.at("/domain"))
    assert "Your portal is available there" in site.save(f"/domain/{row.id}/check").text
    assert at(Visitor(site.app), "/", follow=False).headers["Location"] == f"/business/{site.acorn}/"
    assert at(Visitor(site.app), "/", host="nobody.acorn.example").status_code == 421
    assert at(Visitor(site.app), "/", host=HOST + ":81").status_code == 421
    assert [email for email in sam.emails(site.SAM) if HOST in email.text and "changed the domain" in email.text]


def test_a_domain_serves_its_business_only(site: Served) -> None:
    site.bind()
    ada = site.customer(site.ADA)
    assert at(ada, "/").status_code == 200
    token = ada.token()
    for path in (
        "/console",
        f"/console/{site.acorn}",
        "/api/products",
        "/subscriptions",
        "/profile",
        f"/business/{site.birch}/",
        "/mailbox",
        "/oauth/authorize",
        "/.well-known/openid-configuration",
        "/login/sent",
        "/login/link/x",
        "/session/x",
        "/search",
        "/clock",
        "/nowhere",
        f"/domains/{site.bind().id}/arrival",
    ):
        assert at(ada, path, follow=False).status_code == 404, path
    for path in ("/login", f"/login/{site.acorn}", "/login/code", "/api/refunds", "/profile", "/login/with/work"):
        answer = at(ada, path, method="POST", follow=False, data={"csrf_token": token, "email": site.ADA})
        assert answer.status_code in (400, 404, 405), path
    for path in ("/login", f"/login/{site.acorn}", "/login?again=1"):  # no form here, but a redirect to the portal's host
        assert at(Visitor(site.app), path, follow=False).headers["Location"].startswith("http://localhost/domains/")
    assert "Cancel a subscription of Acorn Notes" in at(Visitor(site.app), "/cancel").text
    assert at(Visitor(site.app), f"/cancel/{site.acorn}").status_code == 200
    assert at(Visitor(site.app), f"/cancel/{site.birch}", follow=False).status_code == 404
    assert at(Visitor(site.app), "/withdraw").status_code == 200
    assert at(Visitor(site.app), f"/withdraw/{site.birch}", follow=False).status_code == 404
    assert "How cancelling works" in at(Visitor(site.app), "/legal/cancelling").text
    assert at(Visitor(site.app), "/legal/accessibility").status_code == 200
    assert at(ada, "/healthz").status_code == 200 and at(ada, "/static/portal.css").status_code == 200


def test_a_session_is_handed_to_a_domain_for_its_business_only(site: Served) -> None:
    site.bind()
    ada = site.customer(site.ADA)
    page = at(ada, f"/business/{site.acorn}/subscriptions")
    assert page.status_code == 200 and page.url == f"http://{HOST}/business/{site.acorn}/subscriptions"
    assert "Acorn Team" in page.text and "Birch" not in page.text
    profile = at(ada, f"/business/{site.acorn}/profile").text
    assert "opens everything" not in profile and "/sessions/end" not in profile  # its rows, never the person
    assert "You used a link from" not in profile
    assert 'href="http://localhost/"' in at(ada, f"/business/{site.acorn}/").text
    kept = next(cookie for cookie in ada.client._cookies.values() if cookie.domain == HOST and cookie.key.startswith("signed-in"))
    assert kept.http_only and kept.same_site == "Lax" and kept.value not in str([vars(row) for row in site.rows(DomainSession)])
    ben = site.customer(site.BEN)
    assert "http://localhost/login" in at(ben, f"/business/{site.acorn}/").url  # no customer there
    ben.client.set_cookie(kept.key, ada.client.get_cookie("signed-in-test").value, domain=HOST)
    assert "http://localhost/login" in at(ben, f"/business/{site.acorn}/").url  # a session of the portal is not valid there


def test_a_domain_of_an_unrecognized_business_gets_no_session_without_consent(site: Served) -> None:
    domain, email = site.bind(), "ursula@grove.example"
    with site.services.database.open(system(site.acorn), write=True) as db:
        create_customer(db, site.acorn, email=email, name="Ursula")
    ursula = site.customer(email)
    for more in ("", "&signed_in=1"):
        page = at(ursula, f"/domains/{domain.id}/arrival?state=x&next=/business/{site.acorn}/{more}", host="localhost", follow=False)
        assert page.status_code == 200 and email in page.text and "refresh" not in page.text and "/come-in?" in page.text
    assert max(row.expires_at for row in site.rows(DomainCode)) > clock.wall() + timedelta(minutes=9), "there is time to read it"


def test_a_handoff_code_works_once_in_one_browser_for_one_minute(site: Served) -> None:
    site.bind()
    ada = site.customer(site.ADA)

    def code_of(browser: Visitor) -> str:
        out = at(browser, f"/login/{site.acorn}", follow=False).headers["Location"]
        answer = at(browser, urlsplit(out).path + "?" + urlsplit(out).query, host="localhost", follow=False)
        return answer.headers["Location"].removeprefix(f"http://{HOST}")

    goes = code_of(ada)
    mallory = Visitor(site.app)
    assert at(mallory, goes).status_code == 400  # no state of that browser
    at(mallory, f"/login/{site.acorn}", follow=False)
    assert at(mallory, goes).status_code == 400  # another browser's state
    assert at(ada, goes).status_code == 200
    assert at(ada, goes).status_code == 400  # once
    late = code_of(ada)
    with site.services.database.open(everything("a minute passes"), write=True) as db:
        db.execute(update(DomainCode).values(expires_at=clock.wall()), execution_options={"synchronize_session": False})
    assert at(ada, late).status_code == 400
    assert parse_qs(urlsplit(late).query)["code"][0] not in str([vars(row) for row in site.rows(DomainCode)])


def test_one_sign_out_ends_the_sessions_of_all_domains(site: Served) -> None:
    site.bind()
    for where in (HOST, "localhost"):
        ada = site.customer(site.ADA)
        page = at(ada, f"/business/{site.acorn}/")
        assert page.status_code == 200
        if where == HOST:
            token = page.text.split('name="csrf_token" value="')[1].split('"')[0]
            out = ada.client.post(
                "/logout",
                base_url=f"http://{HOST}",
                data={"csrf_token": token, "business_id": site.acorn},
                headers={**ada.headers, "Origin": f"http://{HOST}"},
            )
            assert out.status_code == 303
        else:
            ada.get("/profile")
            ada.post("/logout")
        assert "http://localhost/login" in at(ada, f"/business/{site.acorn}/").url
        assert ada.get("/profile", follow=False, expect=303).location.startswith("/login")


def test_an_ended_session_is_ended_on_domains_at_the_next_request(site: Served) -> None:
    site.bind()
    ada = site.customer(site.ADA)
    assert at(ada, f"/business/{site.acorn}/").status_code == 200
    with site.services.database.open(everything("ended from another browser"), write=True) as db:
        db.execute(
            update(BrowserSession).where(BrowserSession.revoked_at.is_(None)).values(revoked_at=clock.wall()),
            execution_options={"synchronize_session": False},
        )
    assert "http://localhost/login" in at(ada, f"/business/{site.acorn}/").url
    from auth.domains.session_handoff import sweep

    sweep(site.services.database)
    assert site.rows(DomainSession) == []
    site.sam.sign_in(site.SAM, "/login?again=1")


def test_a_fresh_sign_in_counts_on_domains(site: Served) -> None:
    """An action that needs a sign-in within half an hour redirects to the portal's host and back."""
    site.bind()
    ada = site.customer(site.ADA)
    at(ada, f"/business/{site.acorn}/")
    with site.services.database.open(everything("an hour passes"), write=True) as db:
        for row in db.scalars(select(BrowserSession).where(BrowserSession.proved_at.is_not(None))):
            row.proved_at -= timedelta(hours=1)
    asked = at(ada, f"/login?again=1&next=/business/{site.acorn}/profile")
    assert "http://localhost/login" in asked.url and "again=1" in asked.url
    ada.get(asked.url.removeprefix("http://localhost"))
    ada.submit("login", email=site.ADA)
    onward = ada.open_link(ada.emails(site.ADA)[-1].text).soup.find("meta", {"http-equiv": "refresh"})["content"].partition("url=")[2]
    there = at(ada, onward.removeprefix(f"http://{HOST}"))
    assert there.status_code == 200 and urlsplit(there.url).path == f"/business/{site.acorn}/profile"
    with site.app.app_context():
        from auth.domains import session_handoff

        secret = ada.client.get_cookie("signed-in-test", domain=HOST).value
        seen = session_handoff.visit_at(site.services.database, site.services.settings, site.bind(), secret)
    assert seen.proved_at is not None and seen.identity_id is None
    site.sam.sign_in(site.SAM, "/login?again=1")


def test_a_new_card_on_a_domain_needs_a_fresh_sign_in(site: Served) -> None:
    site.bind()
    ada = site.customer(site.ADA)
    page = at(ada, f"/business/{site.acorn}/payment-methods")
    form = {"csrf_token": page.text.split('name="csrf_token" value="')[1].split('"')[0]}
    for element in Page(page).form("payment-methods").find_all(["input", "select"]):
        form.setdefault(element["name"], element.get("value", ""))
    fresh = at(ada, f"/business/{site.acorn}/payment-methods", method="POST", follow=False, data=form)
    assert fresh.status_code == 303 and "/login" not in fresh.headers["Location"]
    with site.services.database.open(everything("two days pass"), write=True) as db:
        for row in db.scalars(select(BrowserSession).where(BrowserSession.proved_at.is_not(None))):
            row.proved_at, row.created_at = row.proved_at - timedelta(days=2), row.created_at - timedelta(days=2)
    old = at(ada, f"/business/{site.acorn}/payment-methods", method="POST", follow=False, data=form)
    assert old.headers["Location"].startswith("/login?again=1")
    site.sam.sign_in(site.SAM, "/login?again=1")


def test_dns_is_checked_daily(site: Served) -> None:
    row = site.bind()
    ada = site.customer(site.ADA)
    assert at(ada, f"/business/{site.acorn}/").status_code == 200

    def a_day_passes() -> int:
        with site.services.database.open(everything("a day passes"), write=True) as db:
            db.execute(update(Domain).values(checked_at=clock.wall() - timedelta(days=1)), execution_options={"synchronize_session": False})
            db.execute(delete(JobFailure), execution_options={"synchronize_session": False})
        assert site.binding.due() == [site.acorn]
        return int(site.binding.recheck(site.acorn))

    assert a_day_passes() == 1 and site.binding.due() == []
    site.dns.silent = True
    assert a_day_passes() == 0 and site.binding.due() == []  # it is asked again, but not at once
    assert at(ada, f"/business/{site.acorn}/").status_code == 200  # DNS did not answer: it stays
    site.dns.silent, site.dns.says = False, {}
    assert a_day_passes() == 1
    assert at(ada, f"/business/{site.acorn}/").status_code == 421
    assert site.rows(DomainSession, DomainSession.domain_id == row.id) == []
    assert site.row(Event, Event.type == "domain.lost") is not None


def test_removing_a_domain_ends_its_sessions(site: Served) -> None:
    row = site.bind()
    ada = site.customer(site.ADA)
    assert at(ada, f"/business/{site.acorn}/").status_code == 200
    site.sam.get(site.at("/domain"))
    site.save(f"/domain/{row.id}/removal", confirmed="yes")
    assert at(ada, f"/business/{site.acorn}/").status_code == 421
    fresh = site.bind()  # the same name again is another domain: its old sessions open nothing
    assert fresh.id != row.id
    answer = at(ada, f"/business/{site.acorn}/", follow=False)
    assert answer.status_code == 303 and answer.headers["Location"].startswith(f"/login/{site.acorn}")


def test_only_owners_and_developers_manage_domains(site: Served) -> None:
    dana = site.staff("dana@acorn.example", "developer")
    page = dana.get(site.at("/domain"))
    assert page.soup.find("input", id="host") is None
    dana.post(site.at("/domain"), {"host": "x.acorn.example"}, expect=403)
    ben = site.customer(site.BEN)
    ben.get("/profile")
    ben.post(site.at("/domain"), {"host": "x.acorn.example"}, expect=404)
