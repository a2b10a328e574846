"""What is asked of an account at Dodo Payments, verb by verb, in the SDK's parameters. Ids are the account's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from billing.elsewhere import Act


def _headers(act: Act) -> dict[str, Any]:
    return {"extra_headers": {"Idempotency-Key": act.key}}


def _change(api: Any, act: Act, **fields: Any) -> Any:
    return api.update(act.subscription_id, **fields, **_headers(act))


def _why(act: Act) -> dict[str, Any]:
    told = {"cancellation_feedback": act.wish.get("feedback"), "cancellation_comment": act.wish.get("comment")}
    who = "cancelled_by_customer" if act.by_customer else "cancelled_by_merchant"
    return {"cancel_reason": who} | {name: value for name, value in told.items() if value}


def plan(wish: Mapping[str, Any]) -> dict[str, Any]:
    later = wish["effective_at"] == "next_billing_date"
    return {
        "product_id": wish["product_id"], "quantity": wish["quantity"], "effective_at": wish["effective_at"], "addons": wish["addons"],
        "proration_billing_mode": "full_immediately" if later else wish["mode"], "on_payment_failure": wish["on_payment_failure"],
        **({"discount_codes": wish["codes"]} if "codes" in wish else {}),
    }  # fmt: skip


def _billing(act: Act) -> dict[str, Any]:
    wish = act.wish
    return {"billing": wish["billing"], "customer_name": wish["name"], "tax_id": wish["tax_id"] or "",
            "customer_business_name": wish["business_name"]}


VERBS: dict[str, Callable[[Any, Act], Any]] = {
    "cancel": lambda api, act: _change(api, act, cancel_at_next_billing_date=True, **_why(act)),
    "keep": lambda api, act: _change(api, act, cancel_at_next_billing_date=False),
    "end": lambda api, act: _change(api, act, status="cancelled", **_why(act)),
    "pause": lambda api, act: _change(api, act, status="paused"),
    "resume": lambda api, act: _change(api, act, status="active"),
    "edit_billing": lambda api, act: _change(api, act, **_billing(act)),
    "change_plan": lambda api, act: api.change_plan(act.subscription_id, **plan(act.wish), **_headers(act)),
    "keep_plan": lambda api, act: api.cancel_change_plan(act.subscription_id, **_headers(act)),
    "change_method": lambda api, act: api.update_payment_method(
        act.subscription_id, payment_method={"type": "new", "return_url": act.wish["return_url"]}, **_headers(act)),
}
