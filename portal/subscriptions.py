"""The list of subscriptions, and the page of one with its next payment, details, payments and history."""

from __future__ import annotations

from flask import render_template, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from billing.external.port import can
from billing.history import billing_history, timeline
from billing.model import lifecycle
from billing.model.restarts import restarted_from
from billing.pricing import prices
from billing.receipts import queries as receipt_query
from billing.statements.matching import WITHDRAWABLE
from billing.statements.withdrawal_queries import withdrawals_of
from billing.subscriptions import queries as query
from billing.subscriptions import running
from billing.subscriptions.consents import consents_of
from billing.subscriptions.next_invoice import next_lines
from billing.subscriptions.restart_offer import RESTARTABLE
from billing.subscriptions.subscription_row import SubscriptionRow
from core.links import exists_here, here
from core.request_context import db
from portal import bp, cursor, external_billing, withdrawal_rights
from portal.markdown import safe_html, safe_link
from portal.phrases import billing_lines, card, consent_words, every, expires, interval
from portal.receipts import receipt_lines
from portal.renewals import is_charged, next_charge
from portal.request_accounts import account, is_several
from portal.restart import restart_links
from portal.safe_rows import safe_rows
from portal.self_refunds import subscription_offer
from portal.state_slip import SlipAction, state_slip
from portal.statements.views import pdf_url
from portal.subscription_rows import SORTS, line, lines, may_change_method, may_edit_billing, sort
from portal.timeline import PAYMENT_EVENTS
from portal.timeline import timeline as timeline_entries

PAGE, LISTED = 25, 100  # page sizes of ended and of current subscriptions
PAYMENTS = 6
"""Maximum number of payments on the page of a subscription. The billing history has all."""


@bp.get("/subscriptions")
def subscriptions() -> ResponseReturnValue:
    by = request.args.get("sort", "date")
    by = by if by in SORTS else "date"
    page = running.page(db(replica=True), cursor.read(request.args.get("after")), LISTED)
    listed, left_out = safe_rows(page.rows, lambda some: lines(sort(some, by)))
    ended = query.past(db(), before=cursor.read(request.args.get("before")), limit=PAGE + 1)
    older = cursor.write(ended[PAGE - 1].created_at, ended[PAGE - 1].id) if len(ended) > PAGE else None
    past, past_left_out = safe_rows(ended[:PAGE], lines)
    return render_template(
        "portal/subscriptions.html",
        lines=listed,
        past=past,
        sort_by=by,
        older=older,
        left_out=[*left_out, *past_left_out],
        is_first=not request.args.get("before"),
        is_begin=not request.args.get("after"),
        more=cursor.write(*page.next) if page.next else None,
    )


@bp.get("/subscriptions/<subscription_id>")
def subscription(subscription_id: str) -> ResponseReturnValue:
    row = query.get_subscription(db(), subscription_id)
    page, left_out = safe_rows([row], lambda some: _page(some[0]) if some else "")
    return render_template("portal/left_out.html", row=row, account=account(row.business_id, row.customer_id)) if left_out else page


def _page(row: SubscriptionRow) -> str:
    theirs = account(row.business_id, row.customer_id)
    url = f"{here('subscriptions')}/{row.id}"
    renews = row.status == "active" and not (row.is_ending or theirs.archived_at) and row.next_billing_at and can(row.collected_by, "keep")
    charged = is_charged(row)
    charge = next_lines(db(), row, next_charge(row.coming(), theirs)) if renews and charged else []
    summary = line(row, url)
    payments = billing_history.entries(db(), billing_history.Filter(business_id=row.business_id, subscription_id=row.id), limit=PAYMENTS)
    product = query.product_of(db(), row.business_id, row.product_id)
    slip = state_slip(summary)
    restart_url, newer_url = restart_links(db(), row) if row.status in RESTARTABLE else ("", "")
    if restart_url:
        slip.actions.insert(0, SlipAction(restart_url, _("Restart subscription"), is_main=True))
    older_id = restarted_from(db(), row.business_id, row.id)
    download = product.download or {} if row.status in lifecycle.HAS_ACCESS else {}
    return render_template(
        "portal/subscription.html",
        image=product.image,
        instructions=safe_html(download.get("instructions")),
        download=safe_link(download.get("external_url")),
        row=row,
        account=theirs,
        url=url,
        summary=summary,
        slip=slip,
        newer_url=newer_url,
        older_url=f"{here('subscriptions')}/{older_id}" if older_id else "",
        several=is_several(),
        charge=charge,
        charge_minor=prices.total(charge) - min(row.credit_minor, 0),
        taxes=prices.tax_rows(charge),
        interval=interval(row.interval, row.interval_count),
        every=every(row.coming().interval, row.coming().interval_count),
        card=card(row.brand, row.last4, row.kind),
        expires=expires(row.expiry_month, row.expiry_year),
        billed_to=billing_lines(row.billing),
        payments=payments,
        consents=consents_of(db(), subscription_id=row.id),
        consent_words=consent_words(),
        withdraw_notice=withdrawal_rights.notice(
            withdrawal_rights.of_subscription(row, theirs),
            row.name,
            theirs,
            url,
            may_withdraw=row.status in WITHDRAWABLE and not row.is_withdrawn,
        ),
        withdrawals=withdrawals_of(db(), subscription_id=row.id) if row.is_withdrawn else [],
        pdf_of=pdf_url,
        history=timeline_entries(timeline.events(db(), row.business_id, row.id, without=PAYMENT_EVENTS), row),
        receipts=receipt_lines(receipt_query.receipts_of(db(), row.business_id, row.id)),
        refund_offer=subscription_offer(db(), theirs, row.id),
        external_note=external_billing.note(row, theirs),
        is_charged=charged,
        can_do=lambda verb: can(row.collected_by, verb),
        may_change_method=may_change_method(row, theirs) and not row.in_flight and exists_here("payment_method"),
        may_edit_billing=may_edit_billing(row, theirs) and exists_here("billing_details"),
    )
