"""Keys that are shown once, webhooks that a real receiver hears, and the event log: made, looked at and taken away by staff."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import select

from core.outbox import Event
from core.scope import system
from tenants.keys import ApiKey
from tenants.webhooks.tables import Delivery, Endpoint
from tests.hostile import Receiver, receiving
from tests.pages.staffed import Shop


@pytest.fixture(scope="module")
def shop(sqlite: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    urls, drop = sqlite.fresh()
    one = Shop.open(urls, tmp_path_factory.mktemp("developers"), outgoing_loopback=True)
    yield one
    one.house.database.dispose()
    drop()


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with receiving() as one:
        yield one


def ask(shop: Shop, secret: str, method: str = "GET", **more: Any) -> int:
    return shop.app.test_client().open("/api/products", method=method, headers={"Authorization": f"Bearer {secret}"}, **more).status_code


def test_a_key_is_shown_once_works_and_is_taken_away(shop: Shop) -> None:
    sam = shop.sam
    assert "No key yet" in sam.get(shop.at("/developers/keys")).text
    sam.get(shop.at("/developers/keys/new"))
    wrong = ({"name": "Shop <1>"}, {"name": "", "reach": "full"}, {"name": "x" * 101, "reach": "full"}, {"name": "A", "reach": "root"})
    for typed in wrong:
        page = sam.submit("/keys/new", expect=422, **typed)
        assert page.soup.find("input", id="name").get("value", "") == typed["name"]
    assert not shop.rows(ApiKey)
    page = sam.submit("/keys/new", name="Checkout <1>", reach="full")
    secret = page.soup.find(id="secret").get_text()
    assert page.response.headers["Cache-Control"] == "no-store" and ask(shop, secret) == 200
    page = sam.get(shop.at("/developers/keys"))
    assert secret not in page.body.decode() and secret[:14] in page.text and "Checkout <1>" in page.text
    row = shop.row(ApiKey)
    assert secret not in (row.secret_hash, row.prefix) and len(row.prefix) == 14
    assert "never used" not in page.text and "used " in page.soup.find("tbody").get_text()
    page = sam.submit(f"/keys/{row.id}/revocation")
    assert "This cannot be undone." in page.text and ask(shop, secret) != 401  # asked first
    page = sam.submit(f"/keys/{row.id}/revocation")
    assert "opens nothing any more" in page.text and "Taken away" in page.text and ask(shop, secret) == 401
    sam.post(shop.at(f"/developers/keys/{row.id}/revocation"), expect=404)
    told = [one.text for one in sam.letters(shop.SAM)]
    assert [one for one in told if "made the API key “Checkout <1>”" in one] and [one for one in told if "took the API key" in one]
    assert not [one for one in told if secret in one]


def test_a_key_that_may_only_look(shop: Shop) -> None:
    shop.sam.get(shop.at("/developers/keys/new"))
    secret = shop.sam.submit("/keys/new", name="Reports", reach="read").soup.find(id="secret").get_text()
    assert ask(shop, secret) == 200 and ask(shop, secret, "POST", json={}) == 403
    assert "read only" in shop.sam.get(shop.at("/developers/keys")).text


def test_bad_addresses_keep_what_was_typed(shop: Shop) -> None:
    shop.sam.get(shop.at("/developers/webhooks/new"))
    for typed in ("", "nowhere", "ftp://shop.example/x", "https://10.0.0.1/", "https://a:b@shop.example/", "javascript:alert(1)"):
        page = shop.sam.submit("/webhooks/new", url=typed, description="<i>", types=["refund.failed"], expect=422)
        assert page.soup.find(id="url-error") and page.soup.find("input", id="url").get("value", "") == typed
        assert page.soup.find("input", id="description")["value"] == "<i>"
        assert page.soup.find("input", {"value": "refund.failed"}).has_attr("checked")
    assert shop.sam.submit("/webhooks/new", url="https://a.example/", types=["no.such"], expect=422).soup.find(id="types-error")
    assert not shop.rows(Endpoint)


def test_a_webhook_from_its_first_day_to_its_last(shop: Shop, receiver: Receiver) -> None:
    sam, sender = shop.sam, shop.app.extensions["webhooks"]
    sam.get(shop.at("/developers/webhooks/new"))
    page = sam.submit("/webhooks/new", url=receiver.url + "/in", description="The warehouse", types=["payment.succeeded"])
    row = shop.row(Endpoint)
    path = f"/developers/webhooks/{row.id}"
    assert page.h1 == receiver.url + "/in" and row.filter_types == ["payment.succeeded"] and "Nothing was sent yet" in page.text

    page = sam.submit("/test", type="payment.succeeded")
    assert "Not tried yet" in page.text
    with shop.app.app_context():
        sender.drain()
    page = sam.get(sam.path)
    assert "Delivered" in page.text and "Answered 200" in page.text and "pay_test" in page.text and len(receiver.heard) == 1
    sent = shop.row(Delivery)
    page = sam.submit("/replay")
    assert "It is sent again now" in page.text
    with shop.app.app_context():
        sender.drain()
    assert [one.headers["webhook-id"] for one in receiver.heard] == [sent.message_id] * 2
    assert sam.get(sam.path).soup.find(id="try-2") and sam.page.soup.find(id="try-1")
    listed = sam.get(shop.at("/developers/webhooks/deliveries?state=delivered"))
    assert len(listed.soup.select("tbody tr")) == 1
    assert "Nothing matches" in sam.get(shop.at("/developers/webhooks/deliveries?state=failed")).text

    sam.get(shop.at(path))
    secret = shop.save(path + "/secret").soup.find(id="whsec").get_text()
    assert secret.startswith("whsec_") and sam.page.response.headers["Cache-Control"] == "no-store"
    sam.get(shop.at(path))
    assert secret not in sam.page.body.decode()
    fresh = sam.post(shop.at(path + "/secret"), {"fresh": "1", "confirmed": "yes"}).soup.find(id="whsec").get_text()
    assert fresh != secret and "two signatures" in sam.page.text

    sam.get(shop.at(path))
    page = shop.save(path, url="ftp://evil.example", description="Kept", expect=422)
    assert page.soup.find("input", id="url")["value"] == "ftp://evil.example"
    assert page.soup.find("input", id="description")["value"] == "Kept"
    sam.get(shop.at(path))
    shop.save(path, url=receiver.url + "/in", description="The office", types=[])
    assert shop.row(Endpoint).description == "The office" and shop.row(Endpoint).filter_types == []
    shop.save(path + "/switch")
    assert shop.row(Endpoint).disabled and "Switched off" in sam.page.text
    assert "switched off" in sam.post(shop.at(path + "/test"), {"type": "payment.succeeded"}, expect=422).text
    sam.get(shop.at(path))
    shop.save(path + "/switch")
    assert not shop.row(Endpoint).disabled
    assert "Nothing failed in the last week." in sam.post(shop.at(path + "/replays")).text
    sam.get(shop.at(path))
    assert "Nothing is sent to" in shop.save(path + "/removal", confirmed="yes").text
    sam.get(shop.at(path), expect=404)
    assert "one taken away" in sam.get(shop.at(f"/developers/webhooks/deliveries/{sent.id}")).text
    told = [one.text for one in sam.letters(shop.SAM)]
    assert [one for one in told if "looked at the secret" in one] and not [one for one in told if secret in one or fresh in one]
    assert not [one for one in told if "/in" in one and "127.0.0.1" in one], "an address may hold a secret: letters name its host"
    assert not [one for one in shop.rows(Event) if receiver.url in str(one.data)]


def test_the_event_log_is_filtered_paged_and_escaped(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    from core.outbox import emit

    with shop.house.database.open(system(shop.acorn), write=True) as db:
        data = {"name": "</pre><script>alert(1)</script>", "é": [1]}
        one = emit(db, "product.updated", business_id=shop.acorn, noun="pdt_<b>", data=data)
    page = shop.sam.get(shop.at(f"/developers/events/{one}"))
    assert "<script>alert" not in page.body.decode() and '"é": [' in page.soup.find("pre").get_text()
    assert "</pre><script>alert(1)</script>" in page.soup.find("pre").get_text()
    page = shop.sam.get(shop.at("/developers/events?state=refund"))
    assert "Nothing matches" in page.text
    page = shop.sam.get(shop.at(f"/developers/events?q={shop.ada_at_acorn.subscription_id}"))
    assert "subscription.active" in page.text and "product.created" not in page.text
    theirs = shop.row(Event, Event.business_id == shop.birch)
    shop.sam.get(shop.at(f"/developers/events/{theirs.id}"), expect=404)
    monkeypatch.setattr("tenants.console.lists.PAGE", 7)
    monkeypatch.setattr("tenants.console.events.PAGE", 7)
    seen, path = [], shop.at("/developers/events")
    while path:
        page = shop.sam.get(path)
        seen += [link["href"] for link in page.soup.select("tbody th a")]
        older = page.soup.find("a", rel="next")
        path = older["href"] if older else ""
    with shop.house.database.open(system(shop.acorn)) as db:
        assert len(seen) == len(set(seen)) == len(list(db.scalars(select(Event.id)))) > 7
