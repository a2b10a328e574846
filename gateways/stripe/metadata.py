"""The metadata of objects that the portal makes at Stripe: which operation made it, and a hash of what it asked for."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from billing.charging.ports import ChargeRequest, CollectRequest, RefundRequest

KEY = "portal_key"
KIND = "portal_kind"
REQUEST = "portal_request"
REFUSAL = "portal_refusal"
"""Our decline code, on an intent that was closed because Stripe refused to confirm it."""
CLOSED = "closed"
"""`portal_kind` of an intent that was made only to use up the key of a cancelled operation."""


def of_request(request: ChargeRequest | CollectRequest | RefundRequest) -> dict[str, str]:
    kind, parts = _parts(request)
    hashed = hashlib.sha256(json.dumps([kind, request.business_id, *parts]).encode()).hexdigest()[:32]
    return {KEY: request.key, KIND: kind, REQUEST: hashed, "portal_business": request.business_id}


def _parts(request: ChargeRequest | CollectRequest | RefundRequest) -> tuple[str, list[Any]]:
    """Return the kind and the fields that affect money. Texts and addresses may differ between two tries of one request."""
    amount = [request.amount.minor, request.amount.currency] if request.amount else [None, None]
    if isinstance(request, ChargeRequest):
        return "charge", [request.customer_id, *amount, request.method_reference, request.off_session]
    if isinstance(request, CollectRequest):
        return "collect", [request.customer_id, *amount]
    return "refund", [request.charge.key, *amount]


def read(found: Mapping[str, Any], name: str = KEY) -> str:
    return str((found.get("metadata") or {}).get(name) or "")


def is_same_request(found: Mapping[str, Any], sent: Mapping[str, str]) -> bool:
    """Return whether an object was made by this request, or closed its key before it arrived."""
    return read(found, KIND) == CLOSED or read(found, REQUEST) == sent[REQUEST]
