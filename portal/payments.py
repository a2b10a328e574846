"""One payment: where people come back to from the provider's page or their bank. It says how things stand and changes nothing."""

from __future__ import annotations

from datetime import timedelta

from flask import Response, make_response, render_template, request
from flask.typing import ResponseReturnValue

from billing.queries.one_payment import one_payment
from core import clock
from core.web import db, exists_here, here
from portal import bp
from portal.standing import account
from portal.words import card_of, why_declined

SOON, LATER = 3, 30  # seconds until the page looks again
AT_FIRST = 30  # seconds for which somebody who comes back from their bank reads "Confirming with your bank…"
A_WHILE = timedelta(minutes=10)


@bp.get("/payments/<payment_id>")
def payment(payment_id: str) -> ResponseReturnValue:
    found = one_payment(db(), payment_id)
    one, subscription = found.payment, found.subscription
    came_back = bool(request.args.get("status"))  # a hint for the words only: the state is what the gateway told us
    left = one.is_open and request.args.get("status") == "cancelled"
    waiting = one.is_open and (one.status == "processing" or came_back)
    reload = (SOON if clock.now() - one.updated_at < A_WHILE else LATER) if waiting and "stay" not in request.args else 0
    now = int(clock.wall().timestamp())
    since = min(request.args.get("since", now, type=int), now)
    is_first = one.is_open and came_back and not one.unknown and now - since < AT_FIRST
    hint, other_url = "cancelled" if left else "look" if came_back else "", ""
    if subscription and one.status == "requires_customer_action" and one.charge_type == "renewal" and exists_here("payment_method"):
        other_url = f"{here('subscriptions')}/{subscription.id}/payment-method"
    dues = subscription is not None and subscription.status in ("on_hold", "past_due")
    answer: Response = make_response(render_template(
        "portal/payment.html", found=found, payment=one, subscription=subscription, account=account(one.business_id, one.customer_id),
        card=card_of(one.method), why=why_declined(one.error_code), is_waiting=waiting, has_left=left, reload=reload, is_due=dues,
        url=here("payment", payment_id=one.id), is_first=is_first, again=f"?status={hint}&since={since}",
        other_url=other_url,
        subscription_url=f"{here('subscriptions')}/{subscription.id}" if subscription else "", invoices_url=here("invoices"),
        go_on=one.hosted_url if one.is_open and one.status.startswith("requires_") and not waiting else None))
    answer.headers["Cache-Control"] = "private, no-store"  # how it stood is nothing to go back to
    return answer
