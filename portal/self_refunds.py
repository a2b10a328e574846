"""Refund a payment under the business's refund policy: the rules, the amount and the deadline, or why it is not possible.

A refund requires a recent sign-in (safety 2.7). It cannot be undone, it ends a subscription at once like "cancel now", and it disables
license keys; a link of the business or a browser that was left open must not be enough for that. Viewing the page needs no proof.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from flask import Response, flash, make_response, redirect, render_template, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from auth.visit_rows import Account
from billing.licenses import queries as license_queries
from billing.model import policy as settings_of
from billing.model.payments import Payment, Refund
from billing.model.refund_policy import refund_policy
from billing.model.refund_requests import CustomerRefundRequest
from billing.refund_requests.ask import may_ask
from billing.refund_requests.queries import latest_request
from billing.self_refunds import facts
from billing.self_refunds import refund_payment as command
from billing.self_refunds.assessment import Assessment
from billing.subscriptions import queries as subscription_queries
from core import clock
from core.db import ScopedSession
from core.errors import Conflict, Invalid
from core.links import exists_here, here
from core.request_context import db, scope, services
from core.template_context import formatter
from portal import bp
from portal.billing_services import processor
from portal.license_keys import mask_when_impersonated
from portal.phrases import card_of
from portal.request_accounts import account, open_account
from portal.self_refund_phrases import condition_texts, reason_options, why_not
from portal.step_up import is_fresh, prove

HIDDEN = ("unpaid", "nothing_paid", "refunded", "in_progress", "unrecognized")
"""Obstacles that the page of the payment shows already, or that leave nothing to say."""
POINTLESS = (*HIDDEN, "archived", "external", "disputed", "open_payment")
"""Obstacles about which the business can do nothing, or whose sentence names its address."""


@dataclass(frozen=True)
class RefundOffer:
    """What the page of a payment says about refunding it. `reasons`: why the customer cannot do it themselves.

    `ask`: the address of the business, if asking can help. `request`: the latest request; `request_url`: where a new one is made.
    """

    assessed: Assessment
    account: Account
    url: str
    reasons: list[str]
    ask: str
    request: CustomerRefundRequest | None
    request_url: str


def refund_offer(reading: ScopedSession, payment: Payment | None) -> RefundOffer | None:
    """Return what to show about refunding a payment, or None if its business offers nothing or the page says it already."""
    if payment is None or not exists_here("own_refund"):
        return None
    theirs = account(payment.business_id, payment.customer_id)
    policy = refund_policy(theirs)
    if not policy.is_on and not policy.takes_requests:
        return None
    assessed = command.assess_payment(reading, payment.id)
    if assessed.obstacle in HIDDEN:
        return None
    asked = latest_request(reading, payment)
    return RefundOffer(
        assessed=assessed,
        account=theirs,
        url=here("own_refund", payment_id=payment.id),
        reasons=why_not(assessed, theirs),
        ask=_ask(assessed, theirs),
        request=asked,
        request_url=_request_url(assessed, asked),
    )


def _request_url(assessed: Assessment, asked: CustomerRefundRequest | None) -> str:
    may_request = may_ask(assessed) and (asked is None or asked.status != "open")
    return here("new_refund_request", payment_id=assessed.payment.id) if may_request else ""


def _ask(assessed: Assessment, theirs: Account) -> str:
    return "" if assessed.is_allowed or assessed.obstacle in POINTLESS else theirs.support_email


def subscription_offer(reading: ScopedSession, theirs: Account, subscription_id: str) -> RefundOffer | None:
    """Return what to show about refunding the latest payment of a subscription."""
    policy = refund_policy(theirs)
    if not policy.is_on and not policy.takes_requests:
        return None
    return refund_offer(reading, facts.latest_payment(reading, theirs.business_id, subscription_id))


@bp.get("/payments/<payment_id>/refund")
def own_refund(payment_id: str) -> ResponseReturnValue:
    return _page(db(), command.assess_payment(db(), payment_id))


@bp.post("/payments/<payment_id>/refund")
def make_own_refund(payment_id: str) -> ResponseReturnValue:
    """Refund what the form showed. The command opens its own sessions, so this request has none."""
    with services().database.open(scope()) as reading:
        payment = facts.find_payment(reading, payment_id)
        open_account(payment.business_id, payment.customer_id)
    url = here("own_refund", payment_id=payment_id)
    if not is_fresh():
        return prove(url)
    shown = _shown(request.form)
    if shown is None:
        flash(_(command.CHANGED), "wait")
        return redirect(url, 303)
    try:
        made = command.refund_own_payment(processor(), scope(), payment_id, shown, request.form.get("reason") or None)
    except Invalid as wrong:
        with services().database.open(scope()) as reading:
            errors = {name: _(sentence) for name, sentence in wrong.fields.items()}
            return _page(reading, command.assess_payment(reading, payment_id), errors), 422
    except Conflict as refused:
        flash(_(refused.sentence), "wait")
        return redirect(url, 303)
    _flash_outcome(made)
    return redirect(_back(payment), 303)


def _flash_outcome(made: Refund) -> None:
    amount = formatter().money(made.amount_minor, made.currency)
    if made.status == "failed":
        flash(_("Your bank didn’t accept the refund of %(amount)s. The business has been notified.", amount=amount), "due")
    elif made.status == "succeeded":
        flash(_("You refunded %(amount)s. Banks can take up to ten days to show it.", amount=amount), "good")
    else:
        flash(_("A refund of %(amount)s is on its way. Banks can take up to ten days to show it.", amount=amount), "good")


def _shown(form: Any) -> command.Shown | None:
    """Return the hidden fields of the form, or None if they are not what a page of ours contains."""
    amount, seen = form.get("amount", ""), form.get("seen", "")
    if not (amount.isascii() and amount.isdecimal() and len(amount) < 19 and seen.isascii() and seen.isdecimal() and len(seen) < 6):
        return None
    try:
        as_of = datetime.fromisoformat(form.get("as_of", ""))
        return command.Shown(int(amount), as_of.astimezone(UTC), int(seen)) if as_of.tzinfo else None
    except (ValueError, OverflowError):
        return None


def _back(payment: Payment) -> str:
    if payment.subscription_id is None:
        return f"{here('purchases')}/{payment.id}"
    return f"{here('subscriptions')}/{payment.subscription_id}"


def _page(reading: ScopedSession, assessed: Assessment, errors: dict[str, str] | None = None) -> Response:
    payment, theirs = assessed.payment, account(assessed.payment.business_id, assessed.payment.customer_id)
    row = subscription_queries.get_subscription(reading, payment.subscription_id) if payment.subscription_id else None
    name = row.name if row is not None else assessed.name
    asked = latest_request(reading, payment)
    keys = {key.id for key in assessed.keys if key.status == "active"}
    masked = mask_when_impersonated(license_queries.keys(reading, payment_id=payment.id)) if row is None else []
    stops = settings_of.setting(theirs, "keys_on_full_refund") == "revoke"
    page: Response = make_response(
        render_template(
            "portal/self_refund.html",
            refund=assessed,
            payment=payment,
            account=theirs,
            name=name or _("Purchase"),
            row=row,
            url=here("own_refund", payment_id=payment.id),
            back=_back(payment),
            conditions=condition_texts(assessed, theirs),
            reasons=why_not(assessed, theirs),
            ask=_ask(assessed, theirs),
            asked=asked,
            request_url=_request_url(assessed, asked),
            card=card_of(payment.method),
            options=reason_options(),
            stopping=[key for key in masked if key.id in keys] if stops else [],
            has_subscription_keys=row is not None and bool(keys),
            is_fresh=is_fresh(),
            until=assessed.deadline if assessed.deadline > clock.now() else None,
            errors=errors or {},
            others=[offer for other in facts.other_purchases(reading, payment) if (offer := refund_offer(reading, other)) is not None],
        )
    )
    page.headers["Cache-Control"] = "private, no-store"  # the form has the amount of this moment
    return page
