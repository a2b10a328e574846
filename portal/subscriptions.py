"""Subscriptions: the list, and one of them with its next payment, facts, payments and history."""

from __future__ import annotations

from flask import render_template, request
from flask.typing import ResponseReturnValue

from billing import pricing
from billing.elsewhere import can
from billing.queries import history, story
from billing.queries import subscriptions as query
from billing.queries.next_invoice import next_lines
from core.web import db, exists_here, here
from portal import bp, cursor, elsewhere
from portal.attention import confirm_url, is_left_open
from portal.drawing import drawn
from portal.lines import SORTS, ends_at, line, lines, may_cancel, sort
from portal.markdown import safe_html, safe_link
from portal.renewals import next_charge
from portal.standing import account, is_several
from portal.story import told
from portal.words import billing_words, card, every, expires, interval

PAGE = 25


@bp.get("/subscriptions")
def subscriptions() -> ResponseReturnValue:
    by = request.args.get("sort", "date")
    by = by if by in SORTS else "date"
    running, left_out = drawn(query.live(db(replica=True)), lambda some: lines(sort(some, by)))
    over = query.past(db(), before=cursor.read(request.args.get("before")), limit=PAGE + 1)
    older = cursor.write(over[PAGE - 1].created_at, over[PAGE - 1].id) if len(over) > PAGE else None
    past, also = drawn(over[:PAGE], lines)
    return render_template(
        "portal/subscriptions.html", lines=running, past=past, sort_by=by, older=older, left_out=[*left_out, *also],
        is_first=not request.args.get("before"))


@bp.get("/subscriptions/<subscription_id>")
def subscription(subscription_id: str) -> ResponseReturnValue:
    row = query.one(db(), subscription_id)
    page, left_out = drawn([row], lambda some: _page(some[0]) if some else "")
    return render_template("portal/left_out.html", row=row, account=account(row.business_id, row.customer_id)) if left_out else page


def _page(row: query.SubscriptionRow) -> str:
    theirs = account(row.business_id, row.customer_id)
    url = f"{here('subscriptions')}/{row.id}"
    renews = row.status == "active" and not (row.is_ending or theirs.archived_at) and row.next_billing_at and can(row.collected_by, "keep")
    charge = next_lines(db(), row, next_charge(row.coming(), theirs)) if renews else []
    payments = history.entries(db(), history.Filter(business_id=row.business_id, subscription_id=row.id), limit=12)
    product = query.product_of(db(), row.business_id, row.product_id)
    got = product.download or {} if row.status in ("active", "past_due") else {}
    return render_template(
        "portal/subscription.html", image=product.image, instructions=safe_html(got.get("instructions")),
        download=safe_link(got.get("external_url")),
        row=row, account=theirs, url=url, one=line(row, url), several=is_several(), charge=charge,
        charge_minor=pricing.total(charge) - min(row.credit_minor, 0), taxes=pricing.tax_rows(charge),
        interval=interval(row.interval, row.interval_count),
        every=every(row.coming().interval, row.coming().interval_count), ends_at=ends_at(row),
        card=card(row.brand, row.last4, row.kind), expires=expires(row.expiry_month, row.expiry_year),
        billed_to=billing_words(row.billing), payments=payments, story=told(story.events(db(), row.business_id, row.id), row),
        confirm_url=confirm_url(row) if row.needs_confirming or is_left_open(row) else "",
        may_replace=row.may_replace and exists_here("payment_method"),
        said=elsewhere.note(row, theirs), can_do=lambda verb: can(row.collected_by, verb),
        may_cancel=may_cancel(row, theirs), may_pay=bool(row.dues_minor) and not theirs.archived_at and exists_here("payment_method"),
        can_change={name: exists_here(name) for name in ("plan_change", "payment_method", "billing_details", "pause")})
