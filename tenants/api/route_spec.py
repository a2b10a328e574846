"""Declares what a route accepts and returns. The OpenAPI description (openapi.py) is built from these declarations alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from pydantic import BaseModel

View = TypeVar("View", bound=Callable[..., Any])
Form = Literal["object", "items", "list", "empty", "pdf", "png", "codes", "any"]
Model = type[BaseModel]


@dataclass(frozen=True)
class RouteSpec:
    """`response`, `body`, `query`: the models of the answer, the request body and the query.

    `form`: one object, `{"items": […]}`, a bare list, an empty answer, a file, or any JSON object (described in docs/customer-api.md).
    `errors`: error statuses beside those that follow from the method and the models.
    """

    response: Model | None
    form: Form
    status: int
    body: Model | None
    query: Model | None
    errors: tuple[int, ...]


def route_spec(
    response: Model | None = None, *, form: Form | None = None, status: int | None = None, body: Model | None = None,
    query: Model | None = None, errors: tuple[int, ...] = (),
) -> Callable[[View], View]:  # fmt: skip
    """Attach a RouteSpec to a view. It has to be the innermost decorator."""
    kind: Form = form or ("object" if response else "empty")

    def mark(view: View) -> View:
        view._route_spec = RouteSpec(response, kind, status or 200, body, query, errors)  # type: ignore[attr-defined]
        return view

    return mark


def spec_of(view: Callable[..., Any]) -> RouteSpec:
    """Return the view's RouteSpec. Raises LookupError for a view without one."""
    found: RouteSpec | None = getattr(view, "_route_spec", None)
    if found is None:
        raise LookupError(f"{view.__module__}.{view.__name__} has no @route_spec(…)")
    return found
