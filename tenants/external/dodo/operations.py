"""The SDK call of each delegated action. Ids are those of the account."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from billing.external.port import DelegatedCall


def _headers(act: DelegatedCall) -> dict[str, Any]:
    return {"extra_headers": {"Idempotency-Key": act.key}}


def _change(api: Any, act: DelegatedCall, **fields: Any) -> Any:
    return api.update(act.subscription_id, **fields, **_headers(act))


def _cancel_fields(act: DelegatedCall) -> dict[str, Any]:
    reasons = {"cancellation_feedback": act.parameters.get("feedback"), "cancellation_comment": act.parameters.get("comment")}
    reason = "cancelled_by_customer" if act.by_customer else "cancelled_by_merchant"
    return {"cancel_reason": reason} | {name: value for name, value in reasons.items() if value}


def plan(parameters: Mapping[str, Any]) -> dict[str, Any]:
    later = parameters["effective_at"] == "next_billing_date"
    return {
        "product_id": parameters["product_id"],
        "quantity": parameters["quantity"],
        "effective_at": parameters["effective_at"],
        "addons": parameters["addons"],
        "proration_billing_mode": "full_immediately" if later else parameters["mode"],
        "on_payment_failure": parameters["on_payment_failure"],
        **({"discount_codes": parameters["codes"]} if "codes" in parameters else {}),
    }


def _billing(act: DelegatedCall) -> dict[str, Any]:
    parameters = act.parameters
    return {
        "billing": parameters["billing"],
        "customer_name": parameters["name"],
        "tax_id": parameters["tax_id"] or "",
        "customer_business_name": parameters["business_name"],
    }


VERBS: dict[str, Callable[[Any, DelegatedCall], Any]] = {
    "cancel": lambda api, act: _change(api, act, cancel_at_next_billing_date=True, **_cancel_fields(act)),
    "keep": lambda api, act: _change(api, act, cancel_at_next_billing_date=False),
    "end": lambda api, act: _change(api, act, status="cancelled", **_cancel_fields(act)),
    "pause": lambda api, act: _change(api, act, status="paused"),
    "resume": lambda api, act: _change(api, act, status="active"),
    "edit_billing": lambda api, act: _change(api, act, **_billing(act)),
    "change_plan": lambda api, act: api.change_plan(act.subscription_id, **plan(act.parameters), **_headers(act)),
    "keep_plan": lambda api, act: api.cancel_change_plan(act.subscription_id, **_headers(act)),
    "change_method": lambda api, act: api.update_payment_method(
        act.subscription_id, payment_method={"type": "new", "return_url": act.parameters["return_url"]}, **_headers(act)
    ),
}
