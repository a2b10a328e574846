"""A business's own domain: proved by DNS, its tree alone, its sessions children of the one here."""

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
from billing.commands.customers import create_customer
from core import clock
from core.outbox import Event
from core.scope import everything
from core.turns import JobFailure, system
from tests.pagelint import lint
from tests.pages.staffed import Shop
from tests.visitor import Page, Visitor

HOST = "billing.acorn.example"


class Dns:
    """What the world's DNS says."""

    def __init__(self) -> None:
        self.says: dict[str, list[str]] = {}
        self.silent = False

    def __call__(self, name: str) -> list[str]:
        if self.silent:
            raise Unknown("no answer")
        return self.says.get(name, [])


class Served(Shop):
    dns: Dns

    @property
    def binding(self) -> Any:
        return self.app.extensions["domains"]

    def bind(self) -> Domain:
        """Acorn's domain, proved; once."""
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
def shop(sqlite: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    urls, drop = sqlite.fresh()
    one = Served.open(urls, tmp_path_factory.mktemp("domains"))
    one.dns = one.binding.resolve = Dns()
    yield one
    one.house.database.dispose()
    drop()


@pytest.fixture(autouse=True)
def letters_are_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("auth.budgets.letters", lambda *_: [])


def at(browser: Visitor, path: str, host: str = HOST, method: str = "GET", follow: bool = True, **kwargs: Any) -> Any:
    """The answer at a host, redirects between hosts followed; `.url` is where it came from."""
    url = f"http://{host}{path}"
    for _ in range(8):
        parts = urlsplit(url)
        answer = browser.client.open(parts.path + (f"?{parts.query}" if parts.query else ""), method=method, headers=browser.headers,
                                     base_url=f"http://{parts.netloc}", **kwargs)
        answer.url = url
        if not follow or answer.status_code not in (301, 302, 303):
            break
        to, method, kwargs = answer.headers["Location"], "GET", {}
        url = to if urlsplit(to).netloc else f"http://{parts.netloc}{to}"
    if answer.mimetype == "text/html" and answer.data:
        lint(answer.text, url)
    return answer


def test_a_domain_is_proved_before_it_is_served(shop: Served) -> None:
    sam = shop.sam
    assert at(Visitor(shop.app), "/").status_code == 421
    sam.get(shop.at("/domain"))
    for wrong in ("", "acorn", "localhost", "x.localhost", "10.0.0.1", "billing acorn.example", "-a.example", "a..example", "http://[::1]/"):
        page = shop.save("/domain", host=wrong, expect=422)
        assert page.soup.find(id="host-error"), wrong
    shop.save("/domain", host="https://Billing.Acorn.example/")
    row = shop.row(Domain)
    assert row.host == HOST and row.verified_at is None
    page = sam.get(shop.at("/domain"))
    name, text = shop.binding.record(row)
    assert name == "_portal." + HOST and text in page.text and "Not served yet" in page.text
    shop.dns.says = {name: ["portal-domain=somebody else's"]}
    assert "not there yet" in shop.save(f"/domain/{row.id}/check").text
    shop.dns.silent = True
    sam.get(shop.at("/domain"))
    assert "did not answer" in shop.save(f"/domain/{row.id}/check").text
    shop.dns.silent, shop.dns.says = False, {name: ["v=spf1 -all", text]}
    assert at(Visitor(shop.app), "/").status_code == 421
    sam.get(shop.at("/domain"))
    assert "Your portal is served there" in shop.save(f"/domain/{row.id}/check").text
    assert at(Visitor(shop.app), "/", follow=False).headers["Location"] == f"/business/{shop.acorn}/"
    assert at(Visitor(shop.app), "/", host="nobody.acorn.example").status_code == 421
    assert at(Visitor(shop.app), "/", host=HOST + ":81").status_code == 421
    assert [one for one in sam.letters(shop.SAM) if HOST in one.text and "changed the domain" in one.text]


def test_a_domain_serves_its_own_tree_and_nothing_else(shop: Served) -> None:
    shop.bind()
    ada = shop.customer(shop.ADA)
    assert at(ada, "/").status_code == 200
    token = ada.token()
    for path in ("/console", f"/console/{shop.acorn}", "/api/products", "/subscriptions", "/profile", f"/business/{shop.birch}/",
                 "/mailbox", "/oauth/authorize", "/.well-known/openid-configuration", "/login/sent", "/login/link/x", "/session/x",
                 "/search", "/clock", "/nowhere", f"/domains/{shop.bind().id}/arrival"):
        assert at(ada, path, follow=False).status_code == 404, path
    for path in ("/login", f"/login/{shop.acorn}", "/login/code", "/api/refunds", "/profile", "/login/with/work"):
        answer = at(ada, path, method="POST", follow=False, data={"csrf_token": token, "email": shop.ADA})
        assert answer.status_code in (400, 404, 405), path
    for path in ("/login", f"/login/{shop.acorn}", "/login?again=1"):  # no form here: the way to the portal's own host
        assert at(Visitor(shop.app), path, follow=False).headers["Location"].startswith("http://localhost/domains/")
    assert at(ada, "/healthz").status_code == 200 and at(ada, "/static/portal.css").status_code == 200


def test_who_is_signed_in_here_comes_in_there_as_that_business_alone(shop: Served) -> None:
    shop.bind()
    ada = shop.customer(shop.ADA)
    page = at(ada, f"/business/{shop.acorn}/subscriptions")
    assert page.status_code == 200 and page.url == f"http://{HOST}/business/{shop.acorn}/subscriptions"
    assert "Acorn Team" in page.text and "Birch" not in page.text
    profile = at(ada, f"/business/{shop.acorn}/profile").text
    assert "opens everything" not in profile and "/sessions/end" not in profile  # its rows, never the person
    assert "let you in with a link" not in profile
    assert 'href="http://localhost/"' in at(ada, f"/business/{shop.acorn}/").text
    kept = next(one for one in ada.client._cookies.values() if one.domain == HOST and one.key.startswith("signed-in"))
    assert kept.http_only and kept.same_site == "Lax" and kept.value not in str([vars(row) for row in shop.rows(DomainSession)])
    ben = shop.customer(shop.BEN)
    assert "http://localhost/login" in at(ben, f"/business/{shop.acorn}/").url  # no customer there
    ben.client.set_cookie(kept.key, ada.client.get_cookie("signed-in-test").value, domain=HOST)
    assert "http://localhost/login" in at(ben, f"/business/{shop.acorn}/").url  # a session of here is nothing there


def test_a_domain_that_only_claims_to_know_somebody_learns_nothing_without_a_click(shop: Served) -> None:
    domain, email = shop.bind(), "ursula@grove.example"
    with shop.house.database.open(system(shop.acorn), write=True) as db:
        create_customer(db, shop.acorn, email=email, name="Ursula")
    ursula = shop.customer(email)
    for more in ("", "&signed_in=1"):
        page = at(ursula, f"/domains/{domain.id}/arrival?state=x&next=/business/{shop.acorn}/{more}", host="localhost", follow=False)
        assert page.status_code == 200 and email in page.text and "refresh" not in page.text and "/come-in?" in page.text
    assert max(one.expires_at for one in shop.rows(DomainCode)) > clock.wall() + timedelta(minutes=9), "there is time to read it"


def test_a_code_is_for_one_browser_one_minute_and_once(shop: Served) -> None:
    shop.bind()
    ada = shop.customer(shop.ADA)

    def code_of(browser: Visitor) -> str:
        out = at(browser, f"/login/{shop.acorn}", follow=False).headers["Location"]
        answer = at(browser, urlsplit(out).path + "?" + urlsplit(out).query, host="localhost", follow=False)
        return answer.headers["Location"].removeprefix(f"http://{HOST}")

    goes = code_of(ada)
    mallory = Visitor(shop.app)
    assert at(mallory, goes).status_code == 400  # no state of that browser
    at(mallory, f"/login/{shop.acorn}", follow=False)
    assert at(mallory, goes).status_code == 400  # another browser's state
    assert at(ada, goes).status_code == 200
    assert at(ada, goes).status_code == 400  # once
    late = code_of(ada)
    with shop.house.database.open(everything("a minute passes"), write=True) as db:
        db.execute(update(DomainCode).values(expires_at=clock.wall()), execution_options={"synchronize_session": False})
    assert at(ada, late).status_code == 400
    assert parse_qs(urlsplit(late).query)["code"][0] not in str([vars(row) for row in shop.rows(DomainCode)])


def test_one_sign_out_ends_all(shop: Served) -> None:
    shop.bind()
    for where in (HOST, "localhost"):
        ada = shop.customer(shop.ADA)
        page = at(ada, f"/business/{shop.acorn}/")
        assert page.status_code == 200
        if where == HOST:
            token = page.text.split('name="csrf_token" value="')[1].split('"')[0]
            out = ada.client.post("/logout", base_url=f"http://{HOST}", data={"csrf_token": token, "business_id": shop.acorn},
                                  headers={**ada.headers, "Origin": f"http://{HOST}"})
            assert out.status_code == 303
        else:
            ada.get("/profile")
            ada.post("/logout")
        assert "http://localhost/login" in at(ada, f"/business/{shop.acorn}/").url
        assert ada.get("/profile", follow=False, expect=303).location.startswith("/login")


def test_a_session_ended_elsewhere_is_ended_there_on_the_next_request(shop: Served) -> None:
    shop.bind()
    ada = shop.customer(shop.ADA)
    assert at(ada, f"/business/{shop.acorn}/").status_code == 200
    with shop.house.database.open(everything("ended from another browser"), write=True) as db:
        db.execute(update(BrowserSession).where(BrowserSession.revoked_at.is_(None)).values(revoked_at=clock.wall()),
                   execution_options={"synchronize_session": False})
    assert "http://localhost/login" in at(ada, f"/business/{shop.acorn}/").url
    from auth.domains.visiting import forget

    forget(shop.house.database)
    assert shop.rows(DomainSession) == []
    shop.sam.sign_in(shop.SAM, "/login?again=1")


def test_a_new_proof_is_seen_there_too(shop: Served) -> None:
    """What wants a proof younger than half an hour leads to the portal's own host and back, and then goes on."""
    shop.bind()
    ada = shop.customer(shop.ADA)
    at(ada, f"/business/{shop.acorn}/")
    with shop.house.database.open(everything("an hour passes"), write=True) as db:
        for row in db.scalars(select(BrowserSession).where(BrowserSession.proved_at.is_not(None))):
            row.proved_at -= timedelta(hours=1)
    asked = at(ada, f"/login?again=1&next=/business/{shop.acorn}/profile")
    assert "http://localhost/login" in asked.url and "again=1" in asked.url
    ada.get(asked.url.removeprefix("http://localhost"))
    ada.submit("login", email=shop.ADA)
    onward = ada.open_link(ada.letters(shop.ADA)[-1].text).soup.find("meta", {"http-equiv": "refresh"})["content"].partition("url=")[2]
    there = at(ada, onward.removeprefix(f"http://{HOST}"))
    assert there.status_code == 200 and urlsplit(there.url).path == f"/business/{shop.acorn}/profile"
    with shop.app.app_context():
        from auth.domains import visiting

        secret = ada.client.get_cookie("signed-in-test", domain=HOST).value
        seen = visiting.visit_at(shop.house.database, shop.house.settings, shop.bind(), secret)
    assert seen.proved_at is not None and seen.identity_id is None
    shop.sam.sign_in(shop.SAM, "/login?again=1")


def test_a_new_card_there_wants_a_young_proof_as_it_does_here(shop: Served) -> None:
    shop.bind()
    ada = shop.customer(shop.ADA)
    page = at(ada, f"/business/{shop.acorn}/payment-methods")
    form = {"csrf_token": page.text.split('name="csrf_token" value="')[1].split('"')[0]}
    for element in Page(page).form("payment-methods").find_all(["input", "select"]):
        form.setdefault(element["name"], element.get("value", ""))
    fresh = at(ada, f"/business/{shop.acorn}/payment-methods", method="POST", follow=False, data=form)
    assert fresh.status_code == 303 and "/login" not in fresh.headers["Location"]
    with shop.house.database.open(everything("two days pass"), write=True) as db:
        for row in db.scalars(select(BrowserSession).where(BrowserSession.proved_at.is_not(None))):
            row.proved_at, row.created_at = row.proved_at - timedelta(days=2), row.created_at - timedelta(days=2)
    old = at(ada, f"/business/{shop.acorn}/payment-methods", method="POST", follow=False, data=form)
    assert old.headers["Location"].startswith("/login?again=1")
    shop.sam.sign_in(shop.SAM, "/login?again=1")


def test_dns_is_asked_again_every_day(shop: Served) -> None:
    row = shop.bind()
    ada = shop.customer(shop.ADA)
    assert at(ada, f"/business/{shop.acorn}/").status_code == 200

    def a_day_passes() -> int:
        with shop.house.database.open(everything("a day passes"), write=True) as db:
            db.execute(update(Domain).values(checked_at=clock.wall() - timedelta(days=1)), execution_options={"synchronize_session": False})
            db.execute(delete(JobFailure), execution_options={"synchronize_session": False})
        assert shop.binding.due() == [shop.acorn]
        return int(shop.binding.look_again(shop.acorn))

    assert a_day_passes() == 1 and shop.binding.due() == []
    shop.dns.silent = True
    assert a_day_passes() == 0 and shop.binding.due() == []  # it is asked again, but not at once
    assert at(ada, f"/business/{shop.acorn}/").status_code == 200  # nobody could say: it stays
    shop.dns.silent, shop.dns.says = False, {}
    assert a_day_passes() == 1
    assert at(ada, f"/business/{shop.acorn}/").status_code == 421
    assert shop.rows(DomainSession, DomainSession.domain_id == row.id) == []
    assert shop.row(Event, Event.type == "domain.lost") is not None


def test_giving_a_domain_up_ends_its_sessions(shop: Served) -> None:
    row = shop.bind()
    ada = shop.customer(shop.ADA)
    assert at(ada, f"/business/{shop.acorn}/").status_code == 200
    shop.sam.get(shop.at("/domain"))
    shop.save(f"/domain/{row.id}/removal", confirmed="yes")
    assert at(ada, f"/business/{shop.acorn}/").status_code == 421
    fresh = shop.bind()  # the same name again is another domain: its old sessions open nothing
    assert fresh.id != row.id
    answer = at(ada, f"/business/{shop.acorn}/", follow=False)
    assert answer.status_code == 303 and answer.headers["Location"].startswith(f"/login/{shop.acorn}")


def test_who_may(shop: Served) -> None:
    dana = shop.staff("dana@acorn.example", "developer")
    page = dana.get(shop.at("/domain"))
    assert page.soup.find("input", id="host") is None
    dana.post(shop.at("/domain"), {"host": "x.acorn.example"}, expect=403)
    ben = shop.customer(shop.BEN)
    ben.get("/profile")
    ben.post(shop.at("/domain"), {"host": "x.acorn.example"}, expect=404)
