"""Reads bodies and queries of the customer API. Unlike the merchant API it ignores fields that it does not know.

The official front end sends whole objects where the contract needs two of their fields.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, TypeVar

from flask import jsonify
from flask.typing import ResponseReturnValue
from pydantic import ConfigDict, Field

from billing.history.api_lists import ListPage
from tenants.api.request_parsing import Body, Query
from tenants.api.shapes import Json

Row = TypeVar("Row")
LARGEST_PAGE = 100


class LooseBody(Body):
    model_config = ConfigDict(strict=True, extra="ignore")


class LooseQuery(Query):
    model_config = ConfigDict(extra="ignore")


class Paging(LooseQuery):
    page_number: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    page_size: Annotated[int, Field(ge=0, le=LARGEST_PAGE)] = 10

    @property
    def page(self) -> ListPage:
        return ListPage(self.page_number, self.page_size)


class OfSubscription(Paging):
    subscription_id: str | None = None


def page_of(rows: Sequence[Row], total: int, paging: Paging, shape: Callable[[Row], Json]) -> ResponseReturnValue:
    """Return a page: its items, the number of all rows, and whether more follow."""
    seen = paging.page_number * paging.page_size + len(rows)
    return jsonify(items=[shape(row) for row in rows], total_count=total, has_next=seen < total and bool(rows))


def nothing(**more: Any) -> ResponseReturnValue:
    """Return an empty page."""
    return jsonify(items=[], total_count=0, has_next=False, **more)
