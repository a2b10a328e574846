"""Calls with a transaction conflict run again if they had no effect, and never block their idempotency key."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from sqlalchemy.exc import OperationalError
from werkzeug.test import TestResponse

from core import transaction_retry
from core.settings import Settings
from tests.api.conftest import stock


class Deadlock(Exception):
    """The driver's error after PostgreSQL rolled the transaction back."""

    sqlstate = "40P01"


class Meeting:
    """The API of a business, and a view whose first calls end with a rolled-back transaction."""

    def __init__(self, app: Flask) -> None:
        self.app, self.site, self.runs = app, stock(app.extensions["portal"]), 0

    def undo(self, endpoint: str, times: int, effect: bool = False) -> None:
        view = self.app.view_functions[endpoint]

        def meeting(**values: Any) -> Any:
            self.runs += 1
            answer = view(**values)
            if self.runs <= times:
                if effect:
                    transaction_retry.note_effect()
                raise OperationalError("UPDATE", {}, Deadlock())
            return answer

        vars(meeting).update(vars(view))
        self.app.view_functions[endpoint] = meeting

    def create(self, named: str = "a") -> TestResponse:
        return self.app.test_client().post(
            "/api/customers",
            json={"email": "ada@marlow.example", "name": "Ada"},
            headers={"Authorization": f"Bearer {self.site.key}", "Idempotency-Key": named},
        )

    def count(self) -> int:
        answer = self.app.test_client().get("/api/customers", headers={"Authorization": f"Bearer {self.site.key}"})
        return len(answer.json["items"])


@pytest.fixture
def meeting(settings: Settings, make_app: Callable[..., Flask]) -> Meeting:
    return Meeting(make_app(settings))


def test_a_conflicting_call_with_an_idempotency_key_runs_again(meeting: Meeting) -> None:
    meeting.undo("api.create_customer", 1)
    first = meeting.create()
    assert first.status_code == 200 and meeting.runs == 2
    assert meeting.create().json == first.json and meeting.runs == 2 and meeting.count() == 1


def test_a_conflicting_call_with_effects_releases_its_idempotency_key(meeting: Meeting) -> None:
    """The same call does not wait for the answer of a call that has ended."""
    meeting.undo("api.create_customer", 1, effect=True)
    refused = meeting.create()
    assert refused.status_code == 409 and refused.headers["x-should-retry"] == "false", "a part of it may be done"
    assert meeting.create().status_code == 200 and meeting.runs == 2 and meeting.count() == 1


def test_the_sdk_retries_a_conflict_without_effects(meeting: Meeting) -> None:
    meeting.undo("api.create_customer", transaction_retry.ATTEMPTS)
    refused = meeting.create()
    assert refused.status_code == 409 and refused.headers["x-should-retry"] == "true" and meeting.count() == 0
    assert meeting.create().status_code == 200 and meeting.count() == 1
