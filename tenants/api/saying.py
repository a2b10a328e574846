"""What a route takes and answers, said beside it: the API's description (openapi.py) is made of these words and of nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from pydantic import BaseModel

View = TypeVar("View", bound=Callable[..., Any])
Form = Literal["one", "items", "list", "nothing", "pdf", "png", "codes"]
Model = type[BaseModel]


@dataclass(frozen=True)
class Said:
    """`form`: one object, {"items": […]}, a bare list, nothing, or a file. `refuses`: statuses beside those that the parts imply."""

    gives: Model | None
    form: Form
    status: int
    takes: Model | None
    asks: Model | None
    refuses: tuple[int, ...]


def says(
    gives: Model | None = None, *, form: Form | None = None, status: int | None = None, takes: Model | None = None,
    asks: Model | None = None, refuses: tuple[int, ...] = (),
) -> Callable[[View], View]:  # fmt: skip
    """Innermost on every view. `takes`: the model of its body; `asks`: of its query; `gives`: of its answer."""
    kind: Form = form or ("one" if gives else "nothing")

    def mark(view: View) -> View:
        view._said = Said(gives, kind, status or 200, takes, asks, refuses)  # type: ignore[attr-defined]
        return view

    return mark


def said_of(view: Callable[..., Any]) -> Said:
    """Raises LookupError for a view that says nothing."""
    found: Said | None = getattr(view, "_said", None)
    if found is None:
        raise LookupError(f"{view.__module__}.{view.__name__} does not say what it takes and answers: @says(…)")
    return found
