"""Where a request without a key comes from."""

from __future__ import annotations

from flask import request

from auth import budgets
from core.web import house


def source() -> str:
    """The client as every budget counts it (auth/budgets.py)."""
    return budgets.source_key(house().settings, request.remote_addr)
