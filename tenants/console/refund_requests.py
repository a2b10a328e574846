"""Sales → Refund requests: the queue, the page of one, messages, and declining. A refund is made on the page of the payment."""

from __future__ import annotations

from collections.abc import Mapping

from flask import flash, redirect, render_template, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from billing.charging.refunds import refundable
from billing.refund_requests import ask, decide
from billing.refund_requests import queries as query
from core.errors import Conflict, Invalid
from core.links import here
from core.request_context import db
from portal.self_refund_phrases import reason_label
from tenants.console.access import bp, current_member, needs
from tenants.console.lists import chips, list_query


@bp.get("/<business_id>/sales/refund-requests")
@needs("money.read")
def refund_requests() -> ResponseReturnValue:
    wanted, base = list_query(query.SHOWN_STATES), here("console.refund_requests")
    found = query.list_requests(db(replica=True), wanted.text, wanted.status, wanted.before)
    rows, newest, older = wanted.cut(base, found, lambda row: (row.request.created_at, row.request.id))
    return render_template(
        "tenants/console/refund_requests.html",
        rows=rows,
        newest=newest,
        older=older,
        query=wanted,
        base=base,
        payments_url=here("console.payments"),
        settings_url=here("console.refund_settings"),
        chips=chips("refund_request", query.SHOWN_STATES, wanted, base),
    )


@bp.get("/<business_id>/sales/refund-requests/<request_id>")
@needs("money.read")
def refund_request(request_id: str) -> ResponseReturnValue:
    return _page(request_id, {})


@bp.post("/<business_id>/sales/refund-requests/<request_id>/messages")
@needs("money.refund")
def write_refund_request(request_id: str) -> ResponseReturnValue:
    return _change(request_id, _("Your message is sent by email."), is_answer=False)


@bp.post("/<business_id>/sales/refund-requests/<request_id>/refusal")
@needs("money.refund")
def decline_refund_request(request_id: str) -> ResponseReturnValue:
    return _change(request_id, _("You declined the request. Your answer is sent by email."), is_answer=True)


def _change(request_id: str, done: str, *, is_answer: bool) -> ResponseReturnValue:
    try:
        if is_answer:
            decide.decline(db(), request_id, request.form.get("answer", ""))
        else:
            ask.write(db(), request_id, request.form.get("message", ""), by_customer=False)
    except Invalid as wrong:
        return _page(request_id, request.form, {name: _(sentence) for name, sentence in wrong.fields.items()}), 422
    except Conflict as refused:
        flash(_(refused.sentence), "wait")
        return redirect(here("console.refund_request", request_id=request_id), 303)
    flash(done, "good")
    return redirect(here("console.refund_request", request_id=request_id), 303)


def _page(request_id: str, typed: Mapping[str, str], errors: dict[str, str] | None = None) -> str:
    found = query.get_request(db(), request_id)
    written = query.messages(db(), found.request)
    may_act = found.request.status == "open" and current_member().may("money.refund")
    return render_template(
        "tenants/console/refund_request.html",
        found=found,
        asked=found.request,
        messages=written,
        left=refundable(db(), found.payment),
        reason=reason_label(found.request.reason),
        decided_at=found.request.decided_at,
        base=here("console.refund_requests"),
        payments_url=here("console.payments"),
        may_act=may_act,
        may_write=may_act and sum(not item.by_customer for item in written) < ask.MESSAGES_EACH,
        limit=ask.MESSAGE_LIMIT,
        typed=typed,
        errors=errors or {},
    )
