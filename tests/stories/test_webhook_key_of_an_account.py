"""DODO_PAYMENTS_WEBHOOK_KEY: the secret of a webhook that was set up by hand at the account, passed to `pull dodo`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from standardwebhooks.webhooks import Webhook

from billing.model.subscriptions import Subscription
from billing.subscriptions.cancel import cancel_at_period_end
from core.scope import system
from tests.stories.two_deployments import Two, two_houses

GIVEN, OTHER = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"  # examples of the specification


@pytest.fixture(scope="module")
def two(sqlite: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Two]:
    with two_houses(sqlite, tmp_path_factory.mktemp("webhook-key")) as made:
        yield made


def pull(two: Two, monkeypatch: pytest.MonkeyPatch, webhook_key: str) -> None:
    monkeypatch.setenv("DODO_PAYMENTS_API_KEY", two.key)
    monkeypatch.setenv("DODO_PAYMENTS_WEBHOOK_KEY", webhook_key)
    done = two.portal.test_cli_runner().invoke(args=["pull", "dodo", "--business", two.business_id, "--base-url", f"{two.wire.url}/api"])
    assert done.exit_code == 0, done.output


def tell(two: Two, secret: str, id: str) -> int:
    """Send a webhook of the account about Ada's subscription, signed with `secret`. Returns the status of our answer."""
    body = json.dumps(
        {"type": "subscription.updated", "data": {"payload_type": "Subscription", "subscription_id": two.cast.ada_at_acorn.subscription_id}}
    )
    at = datetime.now(UTC)
    headers = {"webhook-id": id, "webhook-timestamp": str(int(at.timestamp())), "webhook-signature": Webhook(secret).sign(id, at, body)}
    return httpx.post(f"{two.here.settings.base_url}/incoming/dodo/{two.business_id}", content=body, headers=headers).status_code


def test_the_given_key_verifies_webhooks_of_the_account(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    assert tell(two, GIVEN, "msg_0") == 404, "no webhook of this account is known yet"
    pull(two, monkeypatch, GIVEN)
    with two.there.database.open(system(two.cast.acorn), write=True) as db:
        cancel_at_period_end(db, two.cast.ada_at_acorn.subscription_id, None, None)
    assert tell(two, OTHER, "msg_1") == 401
    assert tell(two, GIVEN, "msg_2") == 204
    two.work()
    assert two.ours(Subscription, two.cast.ada_at_acorn.subscription_id).cancel_at_period_end is True


def test_a_later_pull_replaces_the_key_or_keeps_it(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    pull(two, monkeypatch, "")
    assert tell(two, GIVEN, "msg_3") == 204, "no key given: the one that is known stays"
    pull(two, monkeypatch, OTHER)
    assert (tell(two, GIVEN, "msg_4"), tell(two, OTHER, "msg_5")) == (401, 204)
