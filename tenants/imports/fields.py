"""Field types for importing the shapes of the API. Limits are those of billing/model/bounds.py."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from billing.model import bounds

_Stored = AfterValidator(bounds.text)

Id = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.\-]{0,99}$")]


def _document_number(value: str) -> str:
    """Check a document number. Raises ValueError."""
    if not value or len(value) > 100 or value != value.strip() or any(unicodedata.category(char).startswith("C") for char in value):
        raise ValueError("must have 1 to 100 printable characters, without spaces at the start or end")
    return value


DocumentNumber = Annotated[str, AfterValidator(_document_number)]
"""An invoice number. It is printed and never part of a path, so slashes and spaces are allowed (`RE-2025/0001`)."""
Name = Annotated[str, StringConstraints(min_length=1, max_length=300), _Stored]
Text = Annotated[str, StringConstraints(max_length=10_000), _Stored]
Words = Annotated[str, StringConstraints(max_length=300), _Stored]
Instant = Annotated[AwareDatetime, AfterValidator(bounds.instant)]
Minor = Annotated[int, Field(ge=0, le=bounds.MOST_MINOR)]
Count = Annotated[int, Field(ge=1, le=100_000)]
Limit = Annotated[int, Field(ge=0, le=1_000_000)]
Currency = Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$"), AfterValidator(bounds.currency)]
Country = Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$")]
Interval = Literal["Day", "Week", "Month", "Year"]
Json = dict[str, Any]
Stored = Annotated[Json, AfterValidator(bounds.json_value)]
Items = Annotated[list[Any], BeforeValidator(lambda value: value or []), Field(max_length=100), AfterValidator(bounds.json_value)]
Metadata = Annotated[Json, BeforeValidator(lambda value: value or {}), Field(max_length=100), AfterValidator(bounds.json_value)]


def within(minor: int | None, currency: str | None, limit: Callable[[int, str], int] = bounds.amount) -> int | None:
    """Check an amount against the limit of its currency; without a currency it is not checked. Raises ValueError."""
    return limit(minor, currency) if minor is not None and currency else minor


class ImportedRecord(BaseModel):
    """A record of a source. Unknown fields are ignored, because the contract may add fields."""

    model_config = ConfigDict(extra="ignore")
    created_at: Instant | None = None


class Address(BaseModel):
    country: Country | None = None
    city: Words | None = None
    state: Words | None = None
    street: Words | None = None
    zipcode: Words | None = None

    def stored(self) -> Json:
        return self.model_dump(exclude_none=True)


class CustomerRef(BaseModel):
    customer_id: Id


__all__ = [
    "Address",
    "CustomerRef",
    "Count",
    "Country",
    "Currency",
    "DocumentNumber",
    "Id",
    "Instant",
    "Interval",
    "Items",
    "Json",
    "Limit",
    "Metadata",
    "Minor",
    "Name",
    "Stored",
    "Text",
    "ImportedRecord",
    "Words",
    "within",
]
