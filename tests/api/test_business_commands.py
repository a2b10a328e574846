"""Shell commands create a business, and its API key works at once."""

from __future__ import annotations

import json
from pathlib import Path

from flask import Flask

from core.services import Services
from core.settings import Settings


def test_business_new_prints_ids_key_and_links(app: Flask, services: Services, settings: Settings) -> None:
    result = app.test_cli_runner().invoke(args=["business", "new", "--name", "Acorn Notes", "--currency", "eur"])
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    assert set(said) == {"business_id", "api_key", "static_link", "console"}
    assert said["api_key"].startswith("dodo_test_") and said["static_link"] == f"{settings.base_url}/login/{said['business_id']}"
    client = app.test_client()
    brands = client.get("/api/brands", headers={"Authorization": f"Bearer {said['api_key']}"}, base_url=settings.base_url)
    assert [item["brand_id"] for item in brands.get_json()["items"]] == [said["business_id"]]
    assert client.get(f"/login/{said['business_id']}", base_url=settings.base_url).status_code == 200

    more = app.test_cli_runner().invoke(args=["business", "key", "--business", said["business_id"], "--read-only"])
    reading = {"Authorization": f"Bearer {json.loads(more.stdout)['api_key']}"}
    refused = client.post("/api/customers", json={"email": "a@b.example", "name": "A"}, headers=reading, base_url=settings.base_url)
    assert refused.status_code == 403


def test_invalid_businesses_are_refused_with_a_sentence(app: Flask) -> None:
    result = app.test_cli_runner().invoke(args=["business", "new", "--name", "Acorn", "--currency", "QQQ"])
    assert result.exit_code == 1 and "currency" in result.output and "Traceback" not in result.output
    result = app.test_cli_runner().invoke(args=["business", "key", "--business", "bus_nobody"])
    assert result.exit_code == 1 and "no business" in result.output


def test_business_tax_sets_a_rate_per_country_and_category(app: Flask) -> None:
    run = app.test_cli_runner().invoke
    business = json.loads(run(args=["business", "new", "--name", "Acorn Notes", "--currency", "eur"]).stdout)["business_id"]
    assert run(args=["business", "tax", "--business", business, "--country", "DE", "--rate", "19"]).exit_code == 0
    exempt = ["--rate", "0", "--code", "E", "--reason", "VATEX-EU-132", "--category", "edtech"]
    said = json.loads(run(args=["business", "tax", "--business", business, "--country", "DE", *exempt]).stdout)
    edtech = {"bps": 0, "code": "E", "reason": "VATEX-EU-132"}
    assert said["tax_rates"] == {"DE": {"bps": 1900, "categories": {"edtech": edtech}}}
    said = json.loads(run(args=["business", "tax", "--business", business, "--country", "DE", "--rate", "20"]).stdout)
    assert said["tax_rates"] == {"DE": {"bps": 2000, "categories": {"edtech": edtech}}}
    for wrong in (["--country", "XX", "--rate", "19"], ["--country", "DE", "--rate", "0", "--code", "E"]):
        refused = run(args=["business", "tax", "--business", business, *wrong])
        assert refused.exit_code == 1 and "Traceback" not in refused.output


def test_business_taxes_imports_a_set_up_from_a_file(app: Flask, tmp_path: Path) -> None:
    run = app.test_cli_runner().invoke
    business = json.loads(run(args=["business", "new", "--name", "Acorn Notes", "--currency", "eur"]).stdout)["business_id"]
    file = tmp_path / "taxes.json"
    file.write_text(json.dumps({"registrations": [{"scheme": "oss", "country": "IE"}], "rates": [{"country": "DE", "bps": 1900}]}))
    found = json.loads(run(args=["business", "taxes", str(file), "--business", business]).stdout)["tax_setup"]
    assert [(row["scheme"], row["country"]) for row in found["registrations"]] == [("oss", "IE")]
    assert [(row["country"], row["bps"]) for row in found["rates"]] == [("DE", 1900)]
    file.write_text(json.dumps({"rates": [{"country": "XX", "bps": 1900}]}))
    refused = run(args=["business", "taxes", str(file), "--business", business])
    assert refused.exit_code == 1 and "rates.0.country" in refused.output and "Traceback" not in refused.output
