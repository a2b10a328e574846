"""Webhooks managed with the official SDK, with strict validation of every answer, and what a read-only key may not do."""

from __future__ import annotations

from typing import Any, get_args

import dodopayments
import pytest
from sqlalchemy import select

from core.scope import everything
from tenants.webhooks.event_types import KNOWN, SAME, SENT
from tenants.webhooks.models import Endpoint
from tests.api.conftest import Site

URL = "https://acorn.example/hooks"


def test_an_endpoint_is_created_changed_and_deleted(site: Site) -> None:
    acorn, birch = site.sdk(), site.sdk(site.other_key)
    made = acorn.webhooks.create(
        url=URL,
        description="Our books",
        filter_types=["payment.succeeded", "dispute.won"],
        rate_limit=5,
        headers={"X-Site": "7", "X-Api-Key": "s3cret"},
        metadata={"team": "books"},
        idempotency_key="one",
    )
    assert made.id.startswith("whk_") and (made.url, made.description, made.disabled, made.rate_limit) == (URL, "Our books", False, 5)
    assert made.filter_types == ["payment.succeeded", "dispute.won"] and made.metadata == {"team": "books"}
    assert acorn.webhooks.create(url=URL, idempotency_key="one").id == made.id
    assert acorn.webhooks.retrieve(made.id) == made

    changed = acorn.webhooks.update(made.id, url=URL + "/2", filter_types=None, disabled=True, rate_limit=None)
    assert (changed.url, changed.filter_types, changed.disabled, changed.rate_limit) == (URL + "/2", None, True, None)
    assert (changed.description, changed.metadata) == ("Our books", {"team": "books"}) and changed.updated_at > made.updated_at
    assert acorn.webhooks.update(made.id, disabled=False).disabled is False

    assert acorn.webhooks.headers.retrieve(made.id).headers == {"X-Site": "7"}
    assert acorn.webhooks.headers.retrieve(made.id).sensitive == ["X-Api-Key"]
    acorn.webhooks.headers.update(made.id, headers={"x-site": "8", "X-More": "1"})
    assert acorn.webhooks.headers.retrieve(made.id).headers == {"x-site": "8", "X-More": "1"}

    secret = acorn.webhooks.retrieve_secret(made.id).secret
    assert secret.startswith("whsec_") and len(secret) > 30
    with site.services.database.open(everything("what is stored of a secret")) as db:
        row = db.scalar(select(Endpoint).where(Endpoint.id == made.id))
        assert row is not None and secret not in str(vars(row)) and "s3cret" not in str(vars(row)) and row.business_id == site.acorn

    others = [acorn.webhooks.create(url=f"{URL}/{n}").id for n in range(4)]
    assert [item.id for item in acorn.webhooks.list(limit=2)] == [made.id, *others], "the SDK turns the pages itself"
    first = acorn.webhooks.list(limit=2)
    assert first.done is False and first.iterator == others[0] and acorn.webhooks.list().done is True
    assert list(birch.webhooks.list()) == []

    acorn.webhooks.delete(made.id)
    for gone in (
        lambda: acorn.webhooks.retrieve(made.id),
        lambda: acorn.webhooks.delete(made.id),
        lambda: birch.webhooks.retrieve(others[0]),
        lambda: birch.webhooks.retrieve_secret(others[0]),
        lambda: birch.webhooks.update(others[0], url=URL),
        lambda: birch.webhooks.headers.update(others[0], headers={"a": "b"}),
        lambda: birch.webhooks.delete(others[0]),
    ):
        with pytest.raises(dodopayments.NotFoundError):
            gone()
    assert [item.id for item in acorn.webhooks.list()] == others


@pytest.mark.parametrize(("sent", "field"), [
    ({"url": "http://10.0.0.1/x"}, "url"), ({"url": "https://127.0.0.1/x"}, "url"), ({"url": "http://[::1]/"}, "url"),
    ({"url": "ftp://a.example"}, "url"),
    ({"url": "https://ada:pw@acorn.example/"}, "url"), ({"url": "https://acorn.example:22/"}, "url"), ({"url": "acorn.example"}, "url"),
    ({"url": URL, "filter_types": ["payment.exploded"]}, "filter_types"), ({"url": URL, "rate_limit": 0}, "rate_limit"),
    ({"url": URL, "headers": {"Webhook-Signature": "v1,x"}}, "headers"), ({"url": URL, "headers": {"Host": "x"}}, "headers"),
    ({"url": URL, "headers": {"X-A": "a\r\nX-B: b"}}, "headers"), ({"url": URL, "headers": {"Content-Length": "1"}}, "headers"),
])  # fmt: skip
def test_refused_webhooks_name_their_field(api_site: Site, sent: dict[str, Any], field: str) -> None:
    answer = api_site.raw("POST", "/webhooks", api_site.key, json=sent)
    assert answer.status_code == 422 and list(answer.json()["fields"]) == [field], answer.text
    made = api_site.sdk().webhooks.create(url=URL).id
    assert (
        api_site.raw("PATCH", f"/webhooks/{made}" + ("/headers" if field == "headers" else ""), api_site.key, json=sent).status_code == 422
    )
    api_site.sdk().webhooks.delete(made)


def test_a_read_only_key_gets_no_secret(api_site: Site) -> None:
    made, reader = api_site.sdk().webhooks.create(url=URL), api_site.sdk(api_site.read_key)
    assert reader.webhooks.retrieve(made.id) == made
    for forbidden in (
        lambda: reader.webhooks.retrieve_secret(made.id),
        lambda: reader.webhooks.delete(made.id),
        lambda: reader.webhooks.create(url=URL),
    ):
        with pytest.raises(dodopayments.PermissionDeniedError):
            forbidden()
    with pytest.raises(dodopayments.UnprocessableEntityError):
        api_site.sdk().webhooks.list(iterator="whk_of_nobody")


def test_event_types_are_those_of_the_contract() -> None:
    assert get_args(dodopayments.types.WebhookEventType) == KNOWN
    assert set(SAME) < set(KNOWN) and set(SENT) == set(SAME) | {"subscription.updated"}
