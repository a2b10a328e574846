"""API keys that are shown once, webhooks with a real receiver, and the event log, as staff create, read and remove them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import select

from core.outbox import Event
from core.scope import system
from tenants.api_keys import ApiKey
from tenants.webhooks.models import Delivery, Endpoint
from tests.hostile_server import Receiver, receiving
from tests.pages.console_setup import Site

pytestmark = pytest.mark.one_engine  # what people see and type; other tests run these statements on both


@pytest.fixture(scope="module")
def site(sqlite: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    urls, drop = sqlite.fresh()
    item = Site.open(urls, tmp_path_factory.mktemp("developers"), outgoing_loopback=True)
    yield item
    item.services.database.dispose()
    drop()


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with receiving() as item:
        yield item


def ask(site: Site, secret: str, method: str = "GET", **more: Any) -> int:
    return site.app.test_client().open("/api/products", method=method, headers={"Authorization": f"Bearer {secret}"}, **more).status_code


def test_an_api_key_is_shown_once_works_and_is_revoked(site: Site) -> None:
    sam = site.sam
    assert "No API keys yet" in sam.get(site.at("/developers/keys")).text
    sam.get(site.at("/developers/keys/new"))
    wrong = ({"name": "Site <1>"}, {"name": "", "reach": "full"}, {"name": "x" * 101, "reach": "full"}, {"name": "A", "reach": "root"})
    for typed in wrong:
        page = sam.submit("/keys/new", expect=422, **typed)
        assert page.soup.find("input", id="name").get("value", "") == typed["name"]
    assert not site.rows(ApiKey)
    page = sam.submit("/keys/new", name="Checkout <1>", reach="full")
    secret = page.soup.find(id="secret").get_text()
    assert page.response.headers["Cache-Control"] == "no-store" and ask(site, secret) == 200
    page = sam.get(site.at("/developers/keys"))
    assert secret not in page.body.decode() and secret[:14] in page.text and "Checkout <1>" in page.text
    row = site.row(ApiKey)
    assert secret not in (row.secret_hash, row.prefix) and len(row.prefix) == 14
    assert "never used" not in page.text and "used " in page.soup.find("tbody").get_text()
    page = sam.submit(f"/keys/{row.id}/revocation")
    assert "This cannot be undone." in page.text and ask(site, secret) != 401  # asked first
    page = sam.submit(f"/keys/{row.id}/revocation")
    assert "is revoked." in page.text and "Revoked" in page.text and ask(site, secret) == 401
    sam.post(site.at(f"/developers/keys/{row.id}/revocation"), expect=404)
    told = [email.text for email in sam.emails(site.SAM)]
    assert [item for item in told if "created the API key “Checkout <1>”" in item] and [
        item for item in told if "revoked the API key" in item
    ]
    assert not [item for item in told if secret in item]


def test_a_read_only_api_key_cannot_write(site: Site) -> None:
    site.sam.get(site.at("/developers/keys/new"))
    secret = site.sam.submit("/keys/new", name="Reports", reach="read").soup.find(id="secret").get_text()
    assert ask(site, secret) == 200 and ask(site, secret, "POST", json={}) == 403
    assert "read only" in site.sam.get(site.at("/developers/keys")).text


def test_invalid_webhook_urls_keep_the_input(site: Site) -> None:
    site.sam.get(site.at("/developers/webhooks/new"))
    for typed in ("", "nowhere", "ftp://shop.example/x", "https://10.0.0.1/", "https://a:b@shop.example/", "javascript:alert(1)"):
        page = site.sam.submit("/webhooks/new", url=typed, description="<i>", types=["refund.failed"], expect=422)
        assert page.soup.find(id="url-error") and page.soup.find("input", id="url").get("value", "") == typed
        assert page.soup.find("input", id="description")["value"] == "<i>"
        assert page.soup.find("input", {"value": "refund.failed"}).has_attr("checked")
    assert site.sam.submit("/webhooks/new", url="https://a.example/", types=["no.such"], expect=422).soup.find(id="types-error")
    assert not site.rows(Endpoint)


def test_a_webhook_is_created_changed_and_deleted(site: Site, receiver: Receiver) -> None:
    sam, sender = site.sam, site.app.extensions["webhooks"]
    sam.get(site.at("/developers/webhooks/new"))
    page = sam.submit("/webhooks/new", url=receiver.url + "/in", description="The warehouse", types=["payment.succeeded"])
    row = site.row(Endpoint)
    path = f"/developers/webhooks/{row.id}"
    assert page.h1 == receiver.url + "/in" and row.filter_types == ["payment.succeeded"] and "No deliveries yet" in page.text

    page = sam.submit("/test", type="payment.succeeded")
    assert "Not sent yet" in page.text
    with site.app.app_context():
        sender.drain()
    page = sam.get(sam.path)
    assert "Delivered" in page.text and "Answered 200" in page.text and "pay_test" in page.text and len(receiver.heard) == 1
    sent = site.row(Delivery)
    page = sam.submit("/replay")
    assert "The message is sent again" in page.text
    with site.app.app_context():
        sender.drain()
    assert [item.headers["webhook-id"] for item in receiver.heard] == [sent.message_id] * 2
    assert sam.get(sam.path).soup.find(id="try-2") and sam.page.soup.find(id="try-1")
    listed = sam.get(site.at("/developers/webhooks/deliveries?state=delivered"))
    assert len(listed.soup.select("tbody tr")) == 1
    assert "Nothing matches" in sam.get(site.at("/developers/webhooks/deliveries?state=failed")).text

    sam.get(site.at(path))
    secret = site.save(path + "/secret").soup.find(id="whsec").get_text()
    assert secret.startswith("whsec_") and sam.page.response.headers["Cache-Control"] == "no-store"
    sam.get(site.at(path))
    assert secret not in sam.page.body.decode()
    fresh = sam.post(site.at(path + "/secret"), {"fresh": "1", "confirmed": "yes"}).soup.find(id="whsec").get_text()
    assert fresh != secret and "signed with both the old and the new secret" in sam.page.text

    sam.get(site.at(path))
    page = site.save(path, url="ftp://evil.example", description="Kept", expect=422)
    assert page.soup.find("input", id="url")["value"] == "ftp://evil.example"
    assert page.soup.find("input", id="description")["value"] == "Kept"
    sam.get(site.at(path))
    site.save(path, url=receiver.url + "/in", description="The office", types=[])
    assert site.row(Endpoint).description == "The office" and site.row(Endpoint).filter_types == []
    site.save(path + "/switch")
    assert site.row(Endpoint).disabled and "Webhook turned off." in sam.page.text
    assert "This webhook is disabled." in sam.post(site.at(path + "/test"), {"type": "payment.succeeded"}, expect=422).text
    sam.get(site.at(path))
    site.save(path + "/switch")
    assert not site.row(Endpoint).disabled
    assert "Nothing to resend from the last 7 days." in sam.post(site.at(path + "/replays")).text
    sam.get(site.at(path))
    assert "No more events are sent to" in site.save(path + "/removal", confirmed="yes").text
    sam.get(site.at(path), expect=404)
    assert "Deleted webhook" in sam.get(site.at(f"/developers/webhooks/deliveries/{sent.id}")).text
    told = [email.text for email in sam.emails(site.SAM)]
    assert [item for item in told if "viewed the secret" in item] and not [item for item in told if secret in item or fresh in item]
    assert not [item for item in told if "/in" in item and "127.0.0.1" in item], "an address may hold a secret: letters name its host"
    assert not [entry for entry in site.rows(Event) if receiver.url in str(entry.data)]


def test_the_event_log_is_filtered_paged_and_escaped(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    from core.outbox import emit

    with site.services.database.open(system(site.acorn), write=True) as db:
        data = {"name": "</pre><script>alert(1)</script>", "é": [1]}
        item = emit(db, "product.updated", business_id=site.acorn, noun="pdt_<b>", data=data)
    page = site.sam.get(site.at(f"/developers/events/{item}"))
    assert "<script>alert" not in page.body.decode() and '"é": [' in page.soup.find("pre").get_text()
    assert "</pre><script>alert(1)</script>" in page.soup.find("pre").get_text()
    page = site.sam.get(site.at("/developers/events?state=refund"))
    assert "Nothing matches" in page.text
    page = site.sam.get(site.at(f"/developers/events?q={site.ada_at_acorn.subscription_id}"))
    assert "subscription.active" in page.text and "product.created" not in page.text
    theirs = site.row(Event, Event.business_id == site.birch)
    site.sam.get(site.at(f"/developers/events/{theirs.id}"), expect=404)
    monkeypatch.setattr("tenants.console.lists.PAGE", 7)
    monkeypatch.setattr("tenants.console.events.PAGE", 7)
    seen, path = [], site.at("/developers/events")
    while path:
        page = site.sam.get(path)
        seen += [link["href"] for link in page.soup.select("tbody th a")]
        older = page.soup.find("a", rel="next")
        path = older["href"] if older else ""
    with site.services.database.open(system(site.acorn)) as db:
        assert len(seen) == len(set(seen)) == len(list(db.scalars(select(Event.id)))) > 7
