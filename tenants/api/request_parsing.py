"""Reads JSON bodies and queries and validates them against a model. Errors name the field."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from flask import request
from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError

from billing.history import api_lists as read
from billing.model import bounds
from core.errors import BadRequest, Invalid
from core.json_input import OutOfRange, read_json
from core.money import LARGEST_ANYWHERE
from core.request_context import services
from tenants.api.authentication import caller
from tenants.api.unknown_fields import EXTRA, NOT_OFFERED, REFUSED, drop_unset_fields, path_in
from tenants.return_urls import clean_return_url


class Body(BaseModel):
    """A JSON body. Types are exact ("1" is not 1), and unknown fields are refused by name (unknown_fields.py).

    `removed`: fields that the contract no longer has, with what to send instead.
    """

    model_config = ConfigDict(strict=True, extra="forbid")
    removed: ClassVar[dict[str, str]] = {}


class Query(BaseModel):
    """Query parameters. Others are refused by name before the view runs (unknown_fields.py)."""

    model_config = ConfigDict(extra="forbid")


BodyModel = TypeVar("BodyModel", bound=Body)
QueryModel = TypeVar("QueryModel", bound=Query)
Id = Annotated[str, StringConstraints(min_length=1, max_length=100)]
ShortText = Annotated[str, StringConstraints(max_length=250)]
Country = Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$")]
CurrencyCode = Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]
Amount = Annotated[int, Field(ge=0, le=LARGEST_ANYWHERE)]
"""An amount in minor units. The currency's own maximum is checked where the currency is known (`core.money.largest`)."""
Quantity = Annotated[int, Field(ge=1, le=100_000)]
Interval = Literal["Day", "Week", "Month", "Year"]
Locale = Literal[
    "ar", "ca", "zh", "nl", "en", "fr", "de", "he", "id", "it", "ja", "ka", "ko", "ms", "pl", "pt", "ro", "ru", "es", "sv", "th", "tr",
]  # fmt: skip
Metadata = Annotated[
    dict[Annotated[str, StringConstraints(max_length=40)], Annotated[str, StringConstraints(max_length=500)] | bool | int | float],
    Field(max_length=50),
]


def _split_commas(value: Any) -> Any:
    """Split comma-separated values: `a=x,y` and `a=x&a=y` are the same list."""
    parts = value if isinstance(value, list) else [value]
    return [item for part in parts for item in str(part).split(",")]


Many = BeforeValidator(_split_commas)


def _to_utc(value: datetime) -> datetime:
    return bounds.instant(value).astimezone(UTC)


Instant = Annotated[AwareDatetime, AfterValidator(_to_utc)]
"""A date and time with a time zone, as the contract requires, between 1970 and 2200."""


class Localized(Query):
    """`locale` is accepted and has no effect: names are not translated and are returned as they were entered."""

    locale: Annotated[str, StringConstraints(max_length=35)] | None = None


class PageQuery(Query):
    page_number: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    page_size: Annotated[int, Field(ge=0, le=100)] = 10  # 0 is allowed by the contract and returns an empty page
    created_at_gte: Instant | None = None
    created_at_lte: Instant | None = None

    @property
    def page(self) -> read.ListPage:
        return read.ListPage(self.page_number, self.page_size, self.created_at_gte, self.created_at_lte)


Codes = Annotated[list[Annotated[str, StringConstraints(min_length=1, max_length=50)]], Field(max_length=20)]


def codes(item: str | None, several: list[str] | None) -> tuple[str, ...] | None:
    """Return the codes of `discount_code` or `discount_codes`; None if neither was sent. Raises Invalid if both were."""
    if item is not None and several is not None:
        raise Invalid(
            sentence="discount_code: send either discount_code or discount_codes.",
            fields={"discount_code": "Send either discount_code or discount_codes."},
        )
    return (item,) if item else tuple(several) if several is not None else None


class Billing(Body):
    country: Country
    city: ShortText | None = None
    state: ShortText | None = None
    street: ShortText | None = None
    zipcode: Annotated[str, StringConstraints(max_length=30)] | None = None


def body(model: type[BodyModel]) -> BodyModel:
    """Return the request's JSON as `model`. Raises BadRequest (not JSON), Invalid (`fields` names what does not fit the model)."""
    raw = request.get_data()
    try:
        sent = read_json(raw)
    except OutOfRange as wrong:
        raise Invalid(sentence=f"{wrong}.", fields={wrong.field or "body": "This number is out of range."}) from None
    except ValueError:
        raise BadRequest("INVALID_REQUEST_BODY", "The body is not valid JSON.") from None
    if not isinstance(sent, dict):
        raise Invalid(sentence="The body must be a JSON object.")
    while True:
        try:
            return model.model_validate_json(raw)
        except ValidationError as error:
            if not drop_unset_fields(sent, error, model.removed):
                raise _invalid(error, "INVALID_REQUEST_BODY", sent, model.removed) from None
            raw = json.dumps(sent).encode()


def given(sent: Body, columns: dict[str, str]) -> dict[str, Any]:
    """Return {column: value} of the fields in `columns` (field → column) that were sent and are not null."""
    plain = sent.model_dump(include=set(columns))
    return {column: plain[name] for name, column in columns.items() if name in sent.model_fields_set and plain[name] is not None}


def query(model: type[QueryModel]) -> QueryModel:
    """Return the request's query as `model`. Raises Invalid (INVALID_QUERY_PARAMS)."""
    values_by_name: dict[str, Any] = {}
    for name, values in request.args.lists():
        many = Many in getattr(model.model_fields.get(name.removesuffix("[]")), "metadata", ())
        values_by_name[name.removesuffix("[]")] = values if many else values[-1]
    try:
        return model.model_validate(values_by_name)
    except ValidationError as error:
        raise _invalid(error, "INVALID_QUERY_PARAMS") from None


def return_url(value: str | None, business_id: str) -> str | None:
    """Check the URL that customers return to: https, listed by the business, or (in test mode) on localhost.

    Raises Invalid (field return_url). Opens its own session, so call it before the request's session writes.
    """
    if not value:
        return None
    with services().database.open(caller().scope) as db:
        return clean_return_url(services().settings, read.business(db, business_id), value)


def _invalid(error: ValidationError, code: str, sent: Any = None, removed: Mapping[str, str] = MappingProxyType({})) -> Invalid:
    """Return the error for the client: UNSUPPORTED_ACTION if every refused value is understood but not supported, else `code`."""
    fields: dict[str, str] = {}
    kinds = set()
    for item in error.errors(include_url=False, include_context=False, include_input=False)[:20]:
        name = path_in(sent, item["loc"]) or "body"
        is_extra = item["type"] == EXTRA
        fields.setdefault(name, removed.get(name, NOT_OFFERED) if is_extra else item["msg"])
        kinds.add("removed" if name in removed else REFUSED if is_extra else item["type"])
    if kinds == {REFUSED} and code == "INVALID_REQUEST_BODY":
        code = "UNSUPPORTED_ACTION"
    return Invalid(code, "; ".join(f"{name}: {text}" for name, text in fields.items()), fields=fields)


__all__ = [
    "Amount", "Billing", "Body", "Codes", "CurrencyCode", "Id", "Instant", "Interval", "Locale", "Localized", "Many", "Metadata",
    "PageQuery", "Quantity", "Query", "ShortText", "body", "codes", "given", "query", "return_url",
]  # fmt: skip
