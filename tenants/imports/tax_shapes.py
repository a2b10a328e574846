"""Reads the tax settings of a file: the body of `PUT /api/tax-settings`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field, StringConstraints

from billing.model.imported_records import Record
from tenants.imports.fields import Id, Json

KIND = "tax_settings"
"""A business has one set-up, so this is also the id of the record."""
Text = Annotated[str, StringConstraints(max_length=200)]
Basis = Annotated[int, Field(ge=0, le=10_000)]


class RegistrationEntry(BaseModel):
    id: Id | None = None
    scheme: Literal["local", "oss"] = "local"
    country: Text
    region: Text | None = None
    number: Text | None = None
    valid_from: Text | None = None
    valid_to: Text | None = None


class RateEntry(BaseModel):
    id: Id | None = None
    country: Text
    region: Text | None = None
    category: Text | None = None
    bps: Basis
    code: Text | None = None
    reason: Text | None = None
    valid_from: Text | None = None
    valid_to: Text | None = None


class TaxSettingsRecord(BaseModel):
    registrations: list[RegistrationEntry] = []
    rates: list[RateEntry] = []
    exempt: dict[Text, Text] = {}
    prices_include_tax: bool = False
    category: Text | None = None
    not_registered: bool = False
    calculator: Literal["table", "stripe"] | None = None
    calculator_account: Id | None = None


def tax_settings(data: Json) -> Record:
    return Record(KIND, KIND, TaxSettingsRecord.model_validate(data).model_dump())
