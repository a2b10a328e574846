"""Reading what programs send: JSON bodies and queries, checked against a model; errors name the field."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from flask import request
from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError

from billing import bounds
from billing.queries import api as read
from core.errors import BadRequest, Invalid
from core.json_input import OutOfRange, read_json
from core.money import LARGEST_ANYWHERE
from core.web import house
from tenants.api.door import caller
from tenants.api.unknown import EXTRA, NOT_OFFERED, REFUSED, drop_idle, path_in
from tenants.returning import clean_return_url


class Body(BaseModel):
    """A JSON body: types are exact (no "1" for 1), and fields that the model does not have are refused by name (unknown.py).

    `removed`: fields that the contract had once, with what to do instead.
    """

    model_config = ConfigDict(strict=True, extra="forbid")
    removed: ClassVar[dict[str, str]] = {}


class Query(BaseModel):
    """Parameters of a query. Others are refused by name before the view runs (unknown.py)."""

    model_config = ConfigDict(extra="forbid")


Sent = TypeVar("Sent", bound=Body)
Asked = TypeVar("Asked", bound=Query)
Id = Annotated[str, StringConstraints(min_length=1, max_length=100)]
Words = Annotated[str, StringConstraints(max_length=250)]
Country = Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$")]
CurrencyCode = Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]
Amount = Annotated[int, Field(ge=0, le=LARGEST_ANYWHERE)]
"""Minor units. What a currency allows at most is checked where the currency is known (`core.money.largest`)."""
Quantity = Annotated[int, Field(ge=1, le=100_000)]
Interval = Literal["Day", "Week", "Month", "Year"]
Locale = Literal[
    "ar", "ca", "zh", "nl", "en", "fr", "de", "he", "id", "it", "ja", "ka", "ko", "ms", "pl", "pt", "ro", "ru", "es", "sv", "th", "tr",
]  # fmt: skip
Metadata = Annotated[
    dict[Annotated[str, StringConstraints(max_length=40)], Annotated[str, StringConstraints(max_length=500)] | bool | int | float],
    Field(max_length=50),
]


def _commas(value: Any) -> Any:
    """`a=x,y` and `a=x&a=y` are the same list."""
    parts = value if isinstance(value, list) else [value]
    return [one for part in parts for one in str(part).split(",")]


Many = BeforeValidator(_commas)


def _in_reach(value: datetime) -> datetime:
    return bounds.instant(value).astimezone(UTC)


Instant = Annotated[AwareDatetime, AfterValidator(_in_reach)]
"""With a zone, as the contract asks for; between 1970 and 2200."""


class Localized(Query):
    """`locale`: of translated names. Nothing is translated here, so names are answered as they were written, as the contract says."""

    locale: Annotated[str, StringConstraints(max_length=35)] | None = None


class PageQuery(Query):
    page_number: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    page_size: Annotated[int, Field(ge=0, le=100)] = 10  # the contract's range begins at 0: a page of none
    created_at_gte: Instant | None = None
    created_at_lte: Instant | None = None

    @property
    def page(self) -> read.Page:
        return read.Page(self.page_number, self.page_size, self.created_at_gte, self.created_at_lte)


Codes = Annotated[list[Annotated[str, StringConstraints(min_length=1, max_length=50)]], Field(max_length=20)]


def codes(one: str | None, several: list[str] | None) -> tuple[str, ...] | None:
    """`discount_code` or `discount_codes`, whichever came; None for neither. Raises Invalid for both."""
    if one is not None and several is not None:
        raise Invalid(sentence="discount_code: send discount_codes or this.", fields={"discount_code": "Send discount_codes or this."})
    return (one,) if one else tuple(several) if several is not None else None


class Billing(Body):
    country: Country
    city: Words | None = None
    state: Words | None = None
    street: Words | None = None
    zipcode: Annotated[str, StringConstraints(max_length=30)] | None = None


def body(model: type[Sent]) -> Sent:
    """The request's JSON as `model`. Raises BadRequest (no JSON), Invalid (another shape; `fields` says where)."""
    raw = request.get_data()
    try:
        sent = read_json(raw)
    except OutOfRange as wrong:
        raise Invalid(sentence=f"{wrong}.", fields={wrong.field or "body": "This number is out of range."}) from None
    except ValueError:
        raise BadRequest("INVALID_REQUEST_BODY", "The body is not JSON that can be read.") from None
    if not isinstance(sent, dict):
        raise Invalid(sentence="The body has to be a JSON object.")
    while True:
        try:
            return model.model_validate_json(raw)
        except ValidationError as error:
            if not drop_idle(sent, error, model.removed):
                raise _said(error, "INVALID_REQUEST_BODY", sent, model.removed) from None
            raw = json.dumps(sent).encode()


def given(sent: Body, columns: dict[str, str]) -> dict[str, Any]:
    """What was sent of `columns` (field → column), where null means: leave it as it is."""
    plain = sent.model_dump(include=set(columns))
    return {column: plain[name] for name, column in columns.items() if name in sent.model_fields_set and plain[name] is not None}


def query(model: type[Asked]) -> Asked:
    """The request's query as `model`. Raises Invalid (INVALID_QUERY_PARAMS)."""
    asked: dict[str, Any] = {}
    for name, values in request.args.lists():
        many = Many in getattr(model.model_fields.get(name.removesuffix("[]")), "metadata", ())
        asked[name.removesuffix("[]")] = values if many else values[-1]
    try:
        return model.model_validate(asked)
    except ValidationError as error:
        raise _said(error, "INVALID_QUERY_PARAMS") from None


def return_url(value: str | None, business_id: str) -> str | None:
    """An address people may be sent back to: https, or one that the business listed, or (test mode) this machine's.

    Raises Invalid (field return_url). Starts a read of its own, so call it before the request's session writes.
    """
    if not value:
        return None
    with house().database.open(caller().scope) as db:
        return clean_return_url(house().settings, read.business(db, business_id), value)


def _said(error: ValidationError, code: str, sent: Any = None, removed: Mapping[str, str] = MappingProxyType({})) -> Invalid:
    """UNSUPPORTED_ACTION if everything that is wrong is understood and not offered, else `code`."""
    fields: dict[str, str] = {}
    kinds = set()
    for one in error.errors(include_url=False, include_context=False, include_input=False)[:20]:
        name = path_in(sent, one["loc"]) or "body"
        is_extra = one["type"] == EXTRA
        fields.setdefault(name, removed.get(name, NOT_OFFERED) if is_extra else one["msg"])
        kinds.add("removed" if name in removed else REFUSED if is_extra else one["type"])
    if kinds == {REFUSED} and code == "INVALID_REQUEST_BODY":
        code = "UNSUPPORTED_ACTION"
    return Invalid(code, "; ".join(f"{name}: {text}" for name, text in fields.items()), fields=fields)


__all__ = [
    "Amount", "Billing", "Body", "Codes", "CurrencyCode", "Id", "Instant", "Interval", "Locale", "Localized", "Many", "Metadata",
    "PageQuery", "Quantity", "Query", "Words", "body", "codes", "given", "query", "return_url",
]  # fmt: skip
