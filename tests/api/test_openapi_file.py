"""docs/openapi.json is the OpenAPI description that the code builds."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from tenants.api.route_spec import spec_of
from tests.api.conftest import Site

COPY = Path(__file__).parents[2] / "docs" / "openapi.json"


def described(api_site: Site) -> dict[str, Any]:
    answer = api_site.raw("GET", "/openapi.json")
    assert answer.status_code == 200 and answer.headers["Cache-Control"].startswith("public")
    found: dict[str, Any] = answer.json()
    return found


def test_openapi_json_is_current(api_site: Site) -> None:
    """To accept a change: `PORTAL_WRITE_OPENAPI=1 pytest tests/api/test_openapi_file.py`, then read the diff."""
    now = json.dumps(described(api_site), indent=1, sort_keys=True) + "\n"
    if os.environ.get("PORTAL_WRITE_OPENAPI"):
        COPY.write_text(now, encoding="utf-8")
    assert COPY.read_text(encoding="utf-8") == now, test_openapi_json_is_current.__doc__


def test_every_route_has_its_statuses_and_errors(api_site: Site) -> None:
    document = described(api_site)
    operations = {method["operationId"]: method for methods in document["paths"].values() for method in methods.values()}
    assert document["openapi"].startswith("3.1") and len(operations) == sum(len(item) for item in document["paths"].values()) > 80
    for name, item in operations.items():
        codes = set(item["responses"])
        assert {"400", "429"} < codes and codes & {"200", "201", "204"}, name
        assert ("401" in codes and "403" in codes) or item["security"] == [], name
        for status, answer in item["responses"].items():
            if status >= "400":
                assert answer["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/Error"}, (name, status)
        if "requestBody" in item:
            assert {"404", "413", "422"} <= codes, name
    assert "links" in operations["create_customer"]["responses"]["200"]


def test_a_route_without_a_spec_is_refused() -> None:
    def silent() -> None: ...

    try:
        spec_of(silent)
    except LookupError as error:
        assert "@route_spec" in str(error)
    else:
        raise AssertionError("a view without @route_spec was described")
