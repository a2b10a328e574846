"""Calls whose transaction met another one: run again where nothing of them was done, and never left hanging under their key."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from sqlalchemy.exc import OperationalError
from werkzeug.test import TestResponse

from core import conflicts
from core.settings import Settings
from tests.api.conftest import stock


class Deadlock(Exception):
    """What a driver raises where PostgreSQL undid the transaction."""

    sqlstate = "40P01"


class Meeting:
    """The API of a business, and a view whose first calls do their work before their transaction is undone."""

    def __init__(self, app: Flask) -> None:
        self.app, self.shop, self.runs = app, stock(app.extensions["portal"]), 0

    def undo(self, endpoint: str, times: int, effect: bool = False) -> None:
        view = self.app.view_functions[endpoint]

        def meeting(**values: Any) -> Any:
            self.runs += 1
            answer = view(**values)
            if self.runs <= times:
                if effect:
                    conflicts.note_effect()
                raise OperationalError("UPDATE", {}, Deadlock())
            return answer

        vars(meeting).update(vars(view))
        self.app.view_functions[endpoint] = meeting

    def create(self, named: str = "a") -> TestResponse:
        return self.app.test_client().post("/api/customers", json={"email": "ada@marlow.example", "name": "Ada"},
                                           headers={"Authorization": f"Bearer {self.shop.key}", "Idempotency-Key": named})

    def count(self) -> int:
        answer = self.app.test_client().get("/api/customers", headers={"Authorization": f"Bearer {self.shop.key}"})
        return len(answer.json["items"])


@pytest.fixture
def meeting(settings: Settings, make_app: Callable[..., Flask]) -> Meeting:
    return Meeting(make_app(settings))


def test_a_call_with_a_key_that_met_another_is_run_again(meeting: Meeting) -> None:
    meeting.undo("api.create_customer", 1)
    first = meeting.create()
    assert first.status_code == 200 and meeting.runs == 2
    assert meeting.create().json == first.json and meeting.runs == 2 and meeting.count() == 1


def test_a_call_that_may_not_be_run_again_leaves_its_key_free(meeting: Meeting) -> None:
    """The same call does not wait for the answer of one that is over."""
    meeting.undo("api.create_customer", 1, effect=True)
    refused = meeting.create()
    assert refused.status_code == 409 and refused.headers["x-should-retry"] == "false", "a part of it may be done"
    assert meeting.create().status_code == 200 and meeting.runs == 2 and meeting.count() == 1


def test_programs_repeat_by_themselves_what_did_nothing(meeting: Meeting) -> None:
    meeting.undo("api.create_customer", conflicts.ATTEMPTS)
    refused = meeting.create()
    assert refused.status_code == 409 and refused.headers["x-should-retry"] == "true" and meeting.count() == 0
    assert meeting.create().status_code == 200 and meeting.count() == 1
