"""Trace spans: `with span("job", "renewals"): …`. Does nothing while tracing is off (core/tracing.py)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

Call = TypeVar("Call", bound=Callable[..., Any])
tracer: Any = None
"""The tracer of OpenTelemetry; None while tracing is off."""


@contextmanager
def span(kind: str, name: str) -> Iterator[None]:
    """Record the context as one span. `name` comes from a fixed list in the code."""
    if tracer is None:
        yield
        return
    with tracer.start_as_current_span(f"{kind} {name}", record_exception=False, set_status_on_exception=False) as item:
        try:
            yield
        except BaseException as error:
            mark(item, error)
            raise


def traced(kind: str, name: str, call: Call) -> Call:
    """Wrap `call` in a span."""
    if tracer is None:
        return call

    def inside(*args: Any, **kwargs: Any) -> Any:
        with span(kind, name):
            return call(*args, **kwargs)

    return inside  # type: ignore[return-value]


def mark(item: Any, error: BaseException) -> None:
    """Record the class of an error, never its message."""
    item.set_attribute("error.type", type(error).__name__)
    item.set_status(library().StatusCode.ERROR)


def library() -> Any:
    from opentelemetry import trace

    return trace
