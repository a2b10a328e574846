"""The slip at the top of a subscription's page: its state, what that means, and what the customer can do about it."""

from __future__ import annotations

from dataclasses import dataclass, field

from flask_babel import gettext as _
from flask_babel import ngettext
from markupsafe import Markup

from auth.visit_rows import Account
from billing.external.port import can
from billing.model.lifecycle import UNPAID_STATES
from billing.subscriptions.subscription_row import SubscriptionRow
from core import clock
from core.links import exists_here
from core.template_context import amount_tag, date_tag, formatter
from portal.attention import confirm_url, is_left_open
from portal.phrases import bank_confirms, card, days_until, sentence
from portal.renewals import is_charged, renews_after_resuming
from portal.subscription_rows import SubscriptionLine, cancels_by_contact, ends_at, may_keep, pay_page

_BUTTONS = ("plan_change", "pause", "resume", "cancel")  # the other actions are links in the details below


@dataclass
class SlipAction:
    """`is_post`: a form with one button instead of a link. `about`: context for screen readers."""

    url: str
    label: str
    is_main: bool = False
    is_post: bool = False
    about: str = ""


@dataclass
class StateSlip:
    """`sentences`: what the state means; if empty, `when` is shown beside the state."""

    state: Markup
    when: Markup
    sentences: list[Markup] = field(default_factory=list)
    actions: list[SlipAction] = field(default_factory=list)


def state_slip(summary: SubscriptionLine) -> StateSlip:
    """Return the slip of the subscription in `summary`. At most one action is the main one."""
    sentences = [Markup.escape(text) for text in _payment_sentences(summary) or _state_sentences(summary.row, summary.account)]
    if cancels_by_contact(summary.row, summary.account):
        sentences.append(_contact_to_cancel(summary.account))
    actions = _urgent_actions(summary)
    if summary.keep_url:
        actions.append(SlipAction(summary.keep_url, _("Keep subscription"), not actions, is_post=True, about=summary.row.name))
    for item in summary.actions:
        if item["name"] in _BUTTONS:
            actions.append(SlipAction(item["url"], item["label"], is_main=item["name"] == "resume" and not actions))
    actions.sort(key=lambda action: not action.is_main)
    return StateSlip(summary.state, summary.when, sentences, actions)


def _payment_sentences(summary: SubscriptionLine) -> list[str | Markup]:
    """Return what an open payment means; empty without one."""
    row = summary.row
    if row.is_checking:
        return [
            _("We don’t know yet whether your payment went through."),
            _("We’re checking with the bank. Please don’t pay again. We’ll email you when we know."),
        ]
    if row.awaits_bank:
        return [_("Your payment is on its way."), bank_confirms(row.payment_days or 1)]
    if row.needs_confirming:
        amount = amount_tag(row.payment_minor or 0, row.currency)
        return [
            _("Your bank needs you to confirm this payment."),
            sentence(_("%(amount)s. You won’t be charged until you do."), amount=amount),
        ]
    if is_left_open(row):
        return [_("The payment provider’s page is still open."), _("You won’t be charged until you finish.")]
    if row.is_confirming:
        return [_("Confirming with your bank…"), _("This usually takes a few seconds. Reload the page to see the result.")]
    return []


def _state_sentences(row: SubscriptionRow, theirs: Account) -> list[str | Markup]:
    if row.dues_minor and row.status not in UNPAID_STATES:
        pattern = _("%(amount)s is due. Invoice %(number)s isn’t paid yet.")
        due = sentence(pattern, amount=amount_tag(row.dues_minor, row.currency), number=row.invoice_number)
        return [due, *(_ending_sentences(row, theirs) if row.is_ending else _renewal_sentences(row))]
    if row.status == "on_hold" and row.collected_by != "us" and not row.dues_minor:
        return [_("%(name)s is on hold because the last payment didn’t go through.", name=row.name), _how_to_pay_externally(row, theirs)]
    if row.status in ("on_hold", "past_due"):
        return [*_unpaid_sentences(row), *_ending_sentences(row, theirs)]
    if row.is_ending:
        return _ending_sentences(row, theirs)
    if row.status == "paused":
        return _paused_sentences(row)
    if row.status != "active" or theirs.archived_at:
        return []
    if not is_charged(row):
        contact = theirs.support_email or theirs.name
        return [_("You aren’t being charged for this subscription."), _("To renew it, contact %(address)s.", address=contact)]
    if needs_method(row):
        name = card(row.brand, row.last4, row.kind)
        unusable = sentence(_("Your %(card)s can no longer be charged. Add it again."), card=name)
        return [unusable, *_renewal_sentences(row)]
    return _renewal_sentences(row)


def needs_method(row: SubscriptionRow) -> bool:
    """Return whether the next renewal will find no method that can be charged."""
    return row.status == "active" and row.has_stale_method and row.collected_by == "us" and not row.is_ending and is_charged(row)


def _renewal_sentences(row: SubscriptionRow) -> list[str | Markup]:
    if row.is_trial and row.trial_ends_at:
        return [sentence(_("Free until %(date)s. You won’t be charged before then."), date=date_tag(row.trial_ends_at, "sentence"))]
    if row.next_billing_at:
        if row.dues_minor:
            return [sentence(_("Renews on %(date)s."), date=date_tag(row.next_billing_at, "sentence"))]
        return [sentence(_("Renews on %(date)s. You’ve paid up to then."), date=date_tag(row.next_billing_at, "sentence"))]
    return []


def _unpaid_sentences(row: SubscriptionRow) -> list[str | Markup]:
    amount = amount_tag(row.dues_minor or row.due_minor or 0, row.currency)
    since = row.on_hold_at if row.status == "on_hold" else row.next_billing_at
    if row.status == "past_due":
        why = _("It stays active once this is paid.")
        pattern = _("Past due since %(date)s. %(amount)s is due.")
    else:
        why = _("The last payment didn’t go through. It becomes active again as soon as this is paid.")
        pattern = _("On hold since %(date)s. %(amount)s is due.")
    if since is None:
        return [sentence(_("%(name)s is on hold. %(amount)s is due."), name=row.name, amount=amount), why]
    return [sentence(pattern, date=date_tag(since, "sentence"), amount=amount), why]


def _ending_sentences(row: SubscriptionRow, theirs: Account) -> list[str | Markup]:
    if not may_keep(row, theirs):
        return []
    if ends := ends_at(row):
        return [sentence(_("It ends on %(date)s. You can undo this until then."), date=date_tag(ends, "sentence"))]
    return [_("It ends at the end of the billing period. You can undo this until then.")]


def _paused_sentences(row: SubscriptionRow) -> list[str | Markup]:
    out: list[str | Markup] = []
    if row.paused_at:
        pattern = _("Paused since %(date)s, until you resume it. You aren’t charged and can’t use it until then.")
        out.append(sentence(pattern, date=date_tag(row.paused_at, "sentence")))
    if left := days_until(renews_after_resuming(row, clock.now())):
        out.append(
            ngettext(
                "You have one paid day left. It’s kept until you resume.",
                "You have %(num)d paid days left. They’re kept until you resume.",
                left,
            )
        )
    return out


def _how_to_pay_externally(row: SubscriptionRow, theirs: Account) -> str:
    if can(row.collected_by, "change_method"):
        return _("%(business)s’s billing system takes the payment on its own page.", business=theirs.name)
    return _("To pay, contact %(address)s.", address=theirs.support_email or theirs.name)


def _urgent_actions(summary: SubscriptionLine) -> list[SlipAction]:
    """Return what a payment needs from the customer. The first is the main action of the page."""
    row, method_url = summary.row, f"{summary.url}/payment-method"
    if row.needs_confirming or is_left_open(row):
        found = [SlipAction(confirm_url(row), _("Continue"), is_main=True)]
        if row.may_replace and exists_here("payment_method"):
            found.append(SlipAction(method_url, _("Use another card")))
        return found
    if needs_method(row) and exists_here("payment_method"):
        return [SlipAction(method_url, _("Replace card"), is_main=True)]
    if summary.pay_url:
        return [SlipAction(summary.pay_url, _("Pay %(amount)s", amount=formatter().money(row.dues_minor, row.currency)), is_main=True)]
    if row.status == "on_hold" and row.collected_by != "us" and can(row.collected_by, "change_method") and exists_here("payment_method"):
        return [SlipAction(pay_page(row.collected_by, summary.url), _("Pay on the billing page"), is_main=True)]
    return []


def _contact_to_cancel(theirs: Account) -> Markup:
    contact = Markup.escape(_("To cancel, contact %(business)s.", business=theirs.name))
    if not theirs.support_email:
        return contact
    return contact + Markup(' <a href="mailto:{0}">{0}</a>').format(theirs.support_email)
