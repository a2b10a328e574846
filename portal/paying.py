"""What is due for a subscription, paid with a saved method or a new one; and, where nothing is due, which method pays from now on.

One page for both, for they are one question: "pay with what?". A POST runs the command first, in its sessions; the
request's own session is only opened afterwards, to draw what became of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from flask import flash, redirect, render_template, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from auth import sessions
from billing import lifecycle, pricing
from billing.commands import methods as saved
from billing.commands import paying
from billing.elsewhere import can
from billing.queries import methods as method_query
from billing.queries import subscriptions as query
from billing.queries.one_payment import declined_methods
from billing.queries.subscriptions import SubscriptionRow
from core import clock, i18n
from core.errors import BusinessArchived, Conflict, Invalid, Unavailable
from core.pages import words
from core.security import allow_form_to
from core.web import db, external, here, house, scope
from portal import bp, elsewhere
from portal.lines import may_cancel
from portal.proof import prove
from portal.renewals import next_charge
from portal.standing import Account, account
from portal.words import card, expires, why_declined

YOUNG = timedelta(days=1)
NEW = "new"


@dataclass
class Choice:
    """One line of "Pay with": a saved method (`value` its id), or another one."""

    value: str
    label: str
    expires: str
    hint: str
    checked: bool = False


@bp.get("/subscriptions/<subscription_id>/payment-method")
def payment_method(subscription_id: str) -> ResponseReturnValue:
    row = query.one(db(), subscription_id)
    theirs = account(row.business_id, row.customer_id)
    if row.collected_by != "us" and may_elsewhere(row, theirs):
        return elsewhere.method_page(row, theirs)
    if not _may(row, theirs):
        return redirect(f"{here('subscriptions')}/{row.id}", 303)
    return _page(row, theirs)


@bp.post("/subscriptions/<subscription_id>/payment-method")
def choose_payment_method(subscription_id: str) -> ResponseReturnValue:
    with house().database.open(scope()) as reading:
        row = query.one(reading, subscription_id)
        dues = paying.dues(reading, subscription_id)
    theirs = account(row.business_id, row.customer_id)
    if theirs.archived_at:
        raise BusinessArchived(sentence=_("%(business)s has closed its shop here. It takes no more payments.", business=theirs.name))
    if row.collected_by != "us" and may_elsewhere(row, theirs):
        return prove(request.path) if needs_proof() else elsewhere.open_method_page(row, theirs)
    chosen, due = request.form.get("method", ""), request.form.get("due", "")
    if not chosen:
        return _page(row, theirs, error=_("Choose what to pay with.")), 422
    if due and dues and due != f"{dues.invoice_id} {dues.due_minor}":
        return _page(row, theirs, problem=_("The amount has changed. Here is what is due now; nothing was taken.")), 409
    if chosen == NEW and needs_proof():
        return prove(request.path)
    method_id = None if chosen == NEW else chosen
    try:
        if due:
            done = paying.pay_dues(house().till, scope(), row.id, payment_method_id=method_id, locale=i18n.locale(),
                                   use_from_now_on="later" in request.form, return_url=way_back())
            return _after(done.status, done.payment_id, done.link)
        changed = saved.change_method(house().till, scope(), row.id, payment_method_id=method_id, return_url=way_back(),
                                      locale=i18n.locale())
    except (Conflict, Invalid, Unavailable) as wrong:
        with house().database.open(scope()) as reading:
            row = query.one(reading, subscription_id)
        return _page(row, theirs, problem=_(wrong.sentence)), wrong.status
    if changed.payment_id:
        return _after(changed.status, changed.payment_id, changed.link)
    name = next((card(one.brand, one.last4, one.kind) for one in _methods(row) if one.id == method_id), "")
    flash(_("%(card)s now pays for %(name)s.", card=name or _("The chosen method"), name=row.name), "good")
    return redirect(f"{here('subscriptions')}/{row.id}", 303)


def needs_proof() -> bool:
    """A new card on a session older than a day asks for a fresh proof (safety 2.7). A merchant's link has no person to ask."""
    visit = sessions.current()
    if visit is None or visit.link or not (visit.is_person or visit.at_domain):
        return False
    return clock.wall() - visit.created_at > YOUNG and not sessions.proved_within(visit)


def way_back() -> str:
    """Where a hosted page or a bank leads back to: the payment's page at the door one is in."""
    return external(here("home")) + "payments/{payment_id}"


def let_forms_leave(*links: str | None) -> None:
    """Browsers hold `form-action` against redirects too: name the origins that this page's forms may end at."""
    ours = house().settings.base_url
    origins = {f"{one.scheme}://{one.netloc}" for one in map(urlsplit, (link for link in links if link))}
    origins |= set(getattr(house().gateway, "page_origins", ()))
    allow_form_to(*sorted(origins - {ours}))


def _after(status: str, payment_id: str, link: str | None) -> ResponseReturnValue:
    """A decline leads back to the choice, which says why; everything else to the payment's own page or the provider's."""
    if link:
        let_forms_leave(link)
        return redirect(link, 303)
    if status == "failed":
        return redirect(request.path, 303)
    return redirect(here("payment", payment_id=payment_id), 303)


def _may(row: SubscriptionRow, theirs: Account) -> bool:
    return (row.collected_by == "us" and not theirs.archived_at
            and lifecycle.may(lifecycle.SUBSCRIPTION, row.status, "change_method"))


def may_elsewhere(row: SubscriptionRow, theirs: Account) -> bool:
    return (can(row.collected_by, "change_method") and not theirs.archived_at
            and lifecycle.may(lifecycle.SUBSCRIPTION, row.status, "change_method"))


def _methods(row: SubscriptionRow) -> list[method_query.MethodRow]:
    mine = (row.business_id, row.customer_id)
    return [one for one in method_query.methods(db()) if (one.business_id, one.customer_id) == mine]


def _page(row: SubscriptionRow, theirs: Account, error: str = "", problem: str = "") -> str:
    dues = paying.dues(db(), row.id)
    link = dues.link if dues else None
    let_forms_leave(link)
    checking = bool(dues and dues.is_checking) or row.is_checking
    then = 0
    if dues and dues.next_at:
        lines = next_charge(row.coming(), theirs, dues.next_at, dues.next_n - row.period_n - 1)
        then = max(pricing.total(lines) - max(row.credit_minor, 0), 0)
    declined = declined_methods(db(), row.customer_id)
    method = dues.method if dues and dues.method and declined.get(dues.method.id) == dues.failed_at else None  # else: one typed on a page
    return render_template(
        "portal/payment_method.html", row=row, account=theirs, dues=dues, is_checking=checking, choices=_choices(row, bool(dues), declined),
        url=f"{here('subscriptions')}/{row.id}", why=why_declined(dues.error_code) if dues else "",
        failed=card(method.brand, method.last4, method.kind) if method else "",
        next_minor=then, link=link if row.needs_confirming else None, error=error, problem=problem,
        payments_url=here("payment", payment_id=row.payment_id) if row.payment_id else "",
        may_cancel=may_cancel(row, theirs), current=card(row.brand, row.last4, row.kind), invoices_url=here("invoices"))


def _choices(row: SubscriptionRow, paying_dues: bool, declined: dict[str, datetime]) -> list[Choice]:
    """Saved methods, then "another". Checked is what is most likely to work: never the one that was declined last."""
    out = []
    for one in _methods(row):
        hints = []
        if one.id in declined:
            hints.append(_("Declined on %(date)s", date=words().date(declined[one.id], "day")))
        if one.id == row.method_id and not paying_dues:
            hints.append(_("Pays for it now"))
        others = list(dict.fromkeys(name for subscription_id, name in one.pays_for if subscription_id != row.id))
        if others:
            hints.append(_("Used for %(names)s", names=", ".join(others[:4])))
        out.append(Choice(one.id, card(one.brand, one.last4, one.kind) or _("Saved method"), expires(one.expiry_month, one.expiry_year),
                          ". ".join(hints)))
    hint = _("You enter it on our payment provider’s page and come straight back. We never see the number.")
    if needs_proof():
        hint += " " + _("We first send you a letter, to be sure it is you.")
    out.append(Choice(NEW, _("Another card or method"), "", hint))
    best = [one for one in out if one.value not in declined]
    (next((one for one in out if one.value == row.method_id), best[0]) if not paying_dues else best[0]).checked = True
    return out
