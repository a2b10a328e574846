"""The client address that requests without an API key are counted by."""

from __future__ import annotations

from flask import request

from auth import rate_limits
from core.request_context import services


def source() -> str:
    """Return the client's key for rate limits (auth/rate_limits.py)."""
    return rate_limits.source_key(services().settings, request.remote_addr)
