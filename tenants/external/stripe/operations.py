"""The call of each delegated action at Stripe. Ids are those of the account. Every call carries the action's key."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from billing.external.port import DelegatedCall, ExternalAnswer
from tenants.external.stripe.billing_details import edit
from tenants.external.stripe.invoices import payment_page
from tenants.external.stripe.plan_changes import change_plan
from tenants.external.stripe.subscriptions import FEEDBACK
from tenants.external.stripe.values import id_of
from tenants.external.system import CallFailed, Json

_LINK = re.compile(r"https?://[\x21-\x7e]{1,2000}")


def send(api: Any, act: DelegatedCall) -> ExternalAnswer:
    """Carry out an action. Raises CallFailed."""
    link = ACTIONS[act.verb](api, act)
    return ExternalAnswer("done", link=link if isinstance(link, str) and _LINK.fullmatch(link) else None)


def _path(act: DelegatedCall) -> str:
    return f"/v1/subscriptions/{act.subscription_id}"


def _reason(act: DelegatedCall) -> Json:
    """Return why a customer cancels, as Stripe counts it."""
    feedback, comment = act.parameters.get("feedback"), act.parameters.get("comment")
    details = {"feedback": feedback if feedback in FEEDBACK else None, "comment": comment}
    return {"cancellation_details": found} if (found := {name: value for name, value in details.items() if value}) else {}


def _cancel(api: Any, act: DelegatedCall) -> None:
    api.post(_path(act), key=act.key, cancel_at_period_end=True, **_reason(act))


def _keep(api: Any, act: DelegatedCall) -> None:
    """Undo a cancellation. One on a date is undone by another parameter than one at the end of the period."""
    at_the_end = api.get(_path(act)).get("cancel_at_period_end")
    api.post(_path(act), key=act.key, **({"cancel_at_period_end": False} if at_the_end else {"cancel_at": ""}))


def _end(api: Any, act: DelegatedCall) -> None:
    api.delete(_path(act), **_reason(act))


def _pause(api: Any, act: DelegatedCall) -> None:
    api.post(_path(act), key=act.key, pause_collection={"behavior": "void"})


def _resume(api: Any, act: DelegatedCall) -> None:
    """Collect again. A subscription that Stripe itself paused, after a trial without a payment method, is resumed by another call."""
    if api.get(_path(act)).get("status") == "paused":
        api.post(f"{_path(act)}/resume", key=act.key, billing_cycle_anchor="now")
    else:
        api.post(_path(act), key=act.key, pause_collection="")


def _change_plan(api: Any, act: DelegatedCall) -> str | None:
    return change_plan(api, act.subscription_id, act.parameters, act.key)


def _pay_invoice(api: Any, act: DelegatedCall) -> str | None:
    return payment_page(api, act.subscription_id, act.parameters.get("invoice_id"))


def _change_method(api: Any, act: DelegatedCall) -> Any:
    """Return the page where the payment method is changed."""
    found = api.get(_path(act))
    customer = id_of(found.get("customer"))
    if customer is None:
        raise CallFailed(400, "The subscription has no customer.")
    flow = {"type": "payment_method_update", "after_completion": _back(act)}
    session = api.post(
        "/v1/billing_portal/sessions", key=act.key, customer=customer, return_url=act.parameters["return_url"], flow_data=flow
    )
    return session.get("url")


def _back(act: DelegatedCall) -> Json:
    return {"type": "redirect", "redirect": {"return_url": act.parameters["return_url"]}}


def _edit_billing(api: Any, act: DelegatedCall) -> None:
    edit(api, act)


ACTIONS: dict[str, Callable[[Any, DelegatedCall], Any]] = {
    "cancel": _cancel,
    "keep": _keep,
    "end": _end,
    "pause": _pause,
    "resume": _resume,
    "change_method": _change_method,
    "change_plan": _change_plan,
    "edit_billing": _edit_billing,
    "pay_invoice": _pay_invoice,
}
"""The same verbs as `VERBS["stripe"]` of billing/external/port.py."""
