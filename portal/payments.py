"""The page of one payment, to which the payment provider and banks return customers. It changes nothing."""

from __future__ import annotations

from datetime import timedelta

from flask import Response, make_response, render_template, request
from flask.typing import ResponseReturnValue

from billing.model.lifecycle import UNPAID_STATES
from billing.renewals.payment_queries import one_payment
from core import clock
from core.links import exists_here, here
from core.request_context import db
from portal import bp
from portal.phrases import bank_confirms, card_of, why_declined
from portal.request_accounts import account
from portal.self_refunds import refund_offer

FAST_REFRESH, SLOW_REFRESH = 3, 30  # seconds
CONFIRMING_SECONDS = 30  # how long "Confirming with your bank…" is shown after the customer returns
FAST_REFRESH_PERIOD = timedelta(minutes=10)


@bp.get("/payments/<payment_id>")
def payment(payment_id: str) -> ResponseReturnValue:
    found = one_payment(db(), payment_id)
    payment, subscription = found.payment, found.subscription
    came_back = bool(request.args.get("status"))  # affects only the text; the state comes from the gateway
    has_left = payment.is_open and request.args.get("status") == "cancelled"
    awaits_bank = payment.awaits_bank
    waiting = payment.is_open and (payment.status == "processing" or came_back)
    reload = (
        (FAST_REFRESH if clock.now() - payment.updated_at < FAST_REFRESH_PERIOD else SLOW_REFRESH)
        if waiting and not awaits_bank and "stay" not in request.args
        else 0
    )
    now = int(clock.wall().timestamp())
    since = min(request.args.get("since", now, type=int), now)
    is_first = payment.is_open and came_back and not payment.unknown and now - since < CONFIRMING_SECONDS
    hint, other_url = "cancelled" if has_left else "look" if came_back else "", ""
    if subscription and payment.status == "requires_customer_action" and payment.charge_type == "renewal" and exists_here("payment_method"):
        other_url = f"{here('subscriptions')}/{subscription.id}/payment-method"
    dues = subscription is not None and subscription.status in UNPAID_STATES
    answer: Response = make_response(
        render_template(
            "portal/payment.html",
            found=found,
            payment=payment,
            subscription=subscription,
            account=account(payment.business_id, payment.customer_id),
            card=card_of(payment.method),
            why=why_declined(payment.error_code),
            is_waiting=waiting,
            has_left=has_left,
            reload=reload,
            is_due=dues,
            url=here("payment", payment_id=payment.id),
            refund_offer=refund_offer(db(), payment) if payment.status == "succeeded" else None,
            is_first=is_first and not awaits_bank,
            bank_confirms=bank_confirms(payment.working_days or 1) if awaits_bank else "",
            again=f"?status={hint}&since={since}",
            other_url=other_url,
            subscription_url=f"{here('subscriptions')}/{subscription.id}" if subscription else "",
            invoices_url=here("invoices"),
            continue_url=payment.hosted_url if payment.is_open and payment.status.startswith("requires_") and not waiting else None,
        )
    )
    answer.headers["Cache-Control"] = "private, no-store"  # a cached state would be outdated
    return answer
