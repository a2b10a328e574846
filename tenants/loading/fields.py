"""What fields of the API's shapes hold, for reading them from elsewhere."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from billing.commands.businesses import check_currency
from core.errors import Invalid


def _currency(code: str) -> str:
    try:
        check_currency(code)
    except Invalid as wrong:
        raise ValueError(wrong.sentence) from None
    return code


Id = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.\-]{0,99}$")]
Name = Annotated[str, StringConstraints(min_length=1, max_length=300)]
Text = Annotated[str, StringConstraints(max_length=10_000)]
Words = Annotated[str, StringConstraints(max_length=300)]
Minor = Annotated[int, Field(ge=0, le=2_000_000_000_000)]
Count = Annotated[int, Field(ge=1, le=100_000)]
Limit = Annotated[int, Field(ge=0, le=1_000_000)]
Currency = Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$"), AfterValidator(_currency)]
Country = Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$")]
Interval = Literal["Day", "Week", "Month", "Year"]
Json = dict[str, Any]
Items = Annotated[list[Any], BeforeValidator(lambda value: value or [])]
Metadata = Annotated[Json, BeforeValidator(lambda value: value or {})]


class Told(BaseModel):
    """One thing as its source tells it. Fields we do not know are ignored: the contract grows."""

    model_config = ConfigDict(extra="ignore")
    created_at: AwareDatetime | None = None


class Address(BaseModel):
    country: Country | None = None
    city: Words | None = None
    state: Words | None = None
    street: Words | None = None
    zipcode: Words | None = None

    def stored(self) -> Json:
        return self.model_dump(exclude_none=True)


class Buyer(BaseModel):
    customer_id: Id
