"""The report of an import names ignored fields, and refuses a number that two invoices use."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select

from billing.customers.businesses import create_business
from billing.model.invoices import Invoice
from core.errors import Invalid
from core.scope import everything, system
from core.services import Services
from tenants.imports.import_file import check, write
from tests.stories.test_import import BUYER, PRODUCT, payment, subscription

NUMBER = "RE-2025/0001"


@pytest.fixture
def business(services: Services) -> str:
    with services.database.open(everything("a business to import into"), write=True) as db:
        return create_business(db, name="Acorn Notes", currency="EUR", zone="Europe/London").business_id


def written(path: Path, *lines: dict[str, Any]) -> Path:
    text = "".join(json.dumps(line) + "\n" for line in lines).encode()
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    return path


def load(services: Services, business_id: str, path: Path) -> None:
    write(services.database, services.settings, business_id, "import", path, check(services.database, business_id, path))


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz"])
@pytest.mark.parametrize("more", [["--check-only"], []])
def test_fields_that_nothing_reads_are_named_in_the_report(app: Flask, business: str, tmp_path: Path, name: str, more: list[str]) -> None:
    odd = {**subscription(color="red", addons=[{"addon_id": "adn_1", "quantity": 1, "shape": "round"}]), "comment": "ours"}
    addon = {"type": "addon", "data": {"id": "adn_1", "name": "Seat", "price": 100, "currency": "EUR"}}
    paid = [payment(id, billing={"planet": "Earth"}) for id in ("pay_1", "pay_2")]
    path = written(tmp_path / name, PRODUCT, addon, BUYER, odd, *paid)
    answer = app.test_cli_runner().invoke(args=["import", str(path), "--business", business, *more])
    assert answer.exit_code == 0, answer.output
    report = json.loads(answer.stdout.strip().splitlines()[-1])
    assert report["ignored"] == {"comment": 1, "payment.billing.planet": 2, "subscription.addons.shape": 1, "subscription.color": 1}
    assert "warning: payment.billing.planet was ignored in 2 lines." in answer.stderr


def test_a_second_invoice_of_one_number_is_refused_by_line(services: Services, business: str, tmp_path: Path) -> None:
    first = [PRODUCT, BUYER, subscription(), payment(invoice_id=NUMBER)]
    with pytest.raises(Invalid) as refused:
        check(services.database, business, written(tmp_path / "twice.jsonl", *first, payment("pay_2", invoice_id=NUMBER)))
    assert refused.value.fields == {"line 5": "invoice_id: line 4 already has this value."}
    load(services, business, written(tmp_path / "first.jsonl", *first))
    load(services, business, written(tmp_path / "first.jsonl", *first))  # the same payment again is no second one
    with pytest.raises(Invalid) as refused:
        check(services.database, business, written(tmp_path / "later.jsonl", payment("pay_2", invoice_id=NUMBER, subscription_id=None)))
    assert refused.value.fields == {"line 1": f"invoice_id: another invoice already has the number {NUMBER}."}
    with services.database.open(system(business)) as db:
        assert db.scalars(select(Invoice.number)).all() == [NUMBER]


def test_a_payment_that_took_nothing_may_name_the_invoice_of_another(services: Services, business: str, tmp_path: Path) -> None:
    """A declined payment and the later successful one belong to the same invoice."""
    declined = payment("pay_0", invoice_id=NUMBER, status="failed")
    load(services, business, written(tmp_path / "a.jsonl", PRODUCT, BUYER, subscription(), declined, payment(invoice_id=NUMBER)))
    with services.database.open(system(business)) as db:
        assert db.scalars(select(Invoice.number)).all() == [NUMBER]
