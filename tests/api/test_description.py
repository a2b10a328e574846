"""The API's description is made from the code; the copy in the repository is what the code says today."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from tenants.api.saying import said_of
from tests.api.conftest import Shop

COPY = Path(__file__).parents[2] / "docs" / "openapi.json"


def described(desk: Shop) -> dict[str, Any]:
    answer = desk.raw("GET", "/openapi.json")
    assert answer.status_code == 200 and answer.headers["Cache-Control"].startswith("public")
    found: dict[str, Any] = answer.json()
    return found


def test_the_copy_is_todays(desk: Shop) -> None:
    """To accept a change: `PORTAL_WRITE_OPENAPI=1 pytest tests/api/test_description.py`, then read the diff."""
    now = json.dumps(described(desk), indent=1, sort_keys=True) + "\n"
    if os.environ.get("PORTAL_WRITE_OPENAPI"):
        COPY.write_text(now, encoding="utf-8")
    assert COPY.read_text(encoding="utf-8") == now, test_the_copy_is_todays.__doc__


def test_it_names_every_route_with_its_statuses_and_errors(desk: Shop) -> None:
    document = described(desk)
    operations = {one["operationId"]: one for methods in document["paths"].values() for one in methods.values()}
    assert document["openapi"].startswith("3.1") and len(operations) == sum(len(one) for one in document["paths"].values()) > 80
    for name, one in operations.items():
        codes = set(one["responses"])
        assert {"400", "429"} < codes and codes & {"200", "201", "204"}, name
        assert ("401" in codes and "403" in codes) or one["security"] == [], name
        for status, answer in one["responses"].items():
            if status >= "400":
                assert answer["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/Error"}, (name, status)
        if "requestBody" in one:
            assert {"404", "413", "422"} <= codes, name
    assert "links" in operations["create_customer"]["responses"]["200"]


def test_a_route_that_says_nothing_is_found() -> None:
    def silent() -> None: ...

    try:
        said_of(silent)
    except LookupError as told:
        assert "@says" in str(told)
    else:
        raise AssertionError("a view without @says was described")
