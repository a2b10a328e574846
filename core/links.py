"""Links to pages: within the door of this request, and absolute ones for emails and other services."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import current_app, g, has_request_context, request, url_for

from core.request_context import services

if TYPE_CHECKING:
    from core.request_context import Door


def here(endpoint: str, **values: Any) -> str:
    """Return a link within the door of this request: `here("invoices")` works at both doors and on sign-in pages.

    Looks for the endpoint in the customer pages of the door, the door's other pages, then all endpoints. Raises BuildError.
    """
    full = _resolve(endpoint)
    door: Door | None = g.get("door")
    if door and door.business_id and "business_id" not in values and current_app.url_map.is_endpoint_expecting(full, "business_id"):
        values["business_id"] = door.business_id
    return url_for(full, **values)


def exists_here(endpoint: str) -> bool:
    return _resolve(endpoint) in current_app.view_functions


def _resolve(endpoint: str) -> str:
    door: Door | None = g.get("door")
    root = (request.blueprint or "").split(".")[0] if has_request_context() else ""
    if root not in ("unified", "business", "impersonation"):
        root = "business" if door and door.kind == "business" else "unified"
    known = current_app.view_functions
    return next((name for name in (f"{root}.portal.{endpoint}", f"{root}.{endpoint}") if name in known), endpoint)


def external(path: str) -> str:
    """Return the absolute URL of a path, from the settings and never from the request's Host (safety 2.10)."""
    return services().settings.base_url + path
