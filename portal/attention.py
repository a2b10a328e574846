"""The items that need the customer's attention, most urgent first."""

from __future__ import annotations

from dataclasses import dataclass

from flask import request
from flask_babel import gettext as _
from flask_babel import ngettext
from markupsafe import Markup

from billing.external.port import can
from billing.history.overview import SubscriptionSummary
from billing.model.lifecycle import UNPAID_STATES
from billing.subscriptions.subscription_row import SubscriptionRow
from core.links import exists_here, here
from core.template_context import amount_tag, date_tag, formatter
from portal.phrases import bank_confirms, card, is_soon, last_day, sentence
from portal.renewals import is_charged
from portal.subscription_rows import pay_page


@dataclass
class AttentionItem:
    """One line of the list: an icon with its tone, a bold fact, a sentence and at most one button.

    `spoken` and `about` are read out by screen readers only.
    """

    icon: str
    voice: str
    spoken: str
    fact: Markup
    sentence: str | Markup
    url: str = ""
    button: str = ""
    about: str = ""
    is_main: bool = False


def needs(rows: list[SubscriptionRow]) -> list[AttentionItem]:
    prefix = here("subscriptions")
    out = [_due(row, f"{prefix}/{row.id}") for row in rows if row.dues_minor]
    if out:
        out[0].is_main = True  # one filled button a page
    out += [_on_hold_externally(row, f"{prefix}/{row.id}") for row in rows if row.status == "on_hold" and _is_unknown(row)]
    out += [_confirm(row) for row in rows if row.needs_confirming]
    out += [_finish(row) for row in rows if is_left_open(row)]
    out += _cards(rows)
    return out + [_checking(row) for row in rows if row.is_checking] + [_awaiting_bank(row) for row in rows if row.awaits_bank]


def unconfirmed(names: list[str], url: str) -> list[AttentionItem]:
    """Return an item that asks whether purchases made with the customer's email address are theirs."""
    if not names:
        return []
    listed = _("%(names)s and %(count)d more", names=", ".join(names[:3]), count=len(names) - 3) if len(names) > 3 else ", ".join(names)
    return [
        AttentionItem(
            "ask",
            "check",
            _("New purchases"),
            sentence(_("A purchase used your email: %(names)s."), names=listed),
            _("Is it yours? Please confirm it or say that it isn’t."),
            url,
            _("Review purchase"),
            listed,
        )
    ]


def _is_unknown(row: SubscriptionRow) -> bool:
    """Return whether the external billing system has not said what is due."""
    return row.collected_by != "us" and not row.dues_minor


def _due(row: SubscriptionRow, url: str) -> AttentionItem:
    amount = amount_tag(row.dues_minor, row.currency)
    if row.status not in UNPAID_STATES:
        return _unpaid_invoice(row, url, amount)
    pattern = _("%(name)s is on hold. %(amount)s is due.") if row.status == "on_hold" else _("%(name)s is past due. %(amount)s is due.")
    why = sentence(_("The last payment didn’t go through. It becomes active again as soon as this is paid."))
    since = row.on_hold_at or row.next_billing_at
    if since:
        why = sentence(
            _("The payment didn’t go through, and it stopped on %(date)s. It becomes active again as soon as this is paid."),
            date=date_tag(since, "day"),
        )
    pay = exists_here("payment_method")
    amount_text = formatter().money(row.dues_minor, row.currency)
    return AttentionItem(
        "hold",
        "due",
        _("On hold"),
        sentence(pattern, name=row.name, amount=amount),
        why,
        pay_page(row.collected_by, url) if pay else url,
        _("Pay %(amount)s", amount=amount_text) if pay else _("View subscription"),
        _("for %(what)s", what=row.name),
    )


def _unpaid_invoice(row: SubscriptionRow, url: str, amount: Markup) -> AttentionItem:
    """Return an item for an open invoice of a subscription that the external billing system keeps active."""
    pay = exists_here("payment_method")
    return AttentionItem(
        "hold",
        "due",
        _("Unpaid"),
        sentence(_("%(amount)s for %(name)s is due."), name=row.name, amount=amount),
        _("Invoice %(number)s isn’t paid yet.", number=row.invoice_number),
        pay_page(row.collected_by, url) if pay else url,
        _("Pay %(amount)s", amount=formatter().money(row.dues_minor, row.currency)) if pay else _("View subscription"),
        _("for %(what)s", what=row.name),
    )


def _on_hold_externally(row: SubscriptionRow, url: str) -> AttentionItem:
    """Return an item without an amount: the external billing system does not report what is due."""
    pay = can(row.collected_by, "change_method") and exists_here("payment_method")
    return AttentionItem(
        "hold",
        "due",
        _("On hold"),
        sentence(_("%(name)s is on hold."), name=row.name),
        _("The last payment didn’t go through."),
        pay_page(row.collected_by, url) if pay else url,
        _("Pay on the billing page") if pay else _("View subscription"),
        row.name,
    )


def _confirm(row: SubscriptionRow) -> AttentionItem:
    fact = sentence(
        _("Your bank needs you to confirm %(amount)s for %(name)s."), amount=amount_tag(row.payment_minor or 0, row.currency), name=row.name
    )
    other = (
        _("You won’t be charged until you do. You can also use another card.")
        if row.may_replace
        else _("You won’t be charged until you do.")
    )
    return AttentionItem("late", "wait", _("Confirm with your bank"), fact, other, confirm_url(row), _("Continue"), row.name)


def _finish(row: SubscriptionRow) -> AttentionItem:
    fact = sentence(_("%(amount)s for %(what)s"), amount=amount_tag(row.payment_minor or 0, row.currency), what=row.name)
    why = f"{_('The payment provider’s page is still open.')} {_('You won’t be charged until you finish.')}"
    return AttentionItem("clock", "wait", _("Not finished yet"), fact, why, confirm_url(row), _("Continue"), row.name)


def is_left_open(row: SubscriptionRow) -> bool:
    """Return whether the provider's page was left open. False right after returning from it (`status`): the result is pending."""
    return row.is_unfinished and not request.args.get("status")


def confirm_url(row: SubscriptionRow) -> str:
    """Return the URL that continues an open bank confirmation or provider page.

    In read-only views it is the page of the payment instead.
    """
    page: str = here("payment", payment_id=row.payment_id)
    return row.payment_url or page if exists_here("payment_method") else page


def unfinished(summaries: list[SubscriptionSummary]) -> list[AttentionItem]:
    """Return items for purchases that need confirmation with the bank."""
    return [
        AttentionItem(
            "late",
            "wait",
            _("Confirm with your bank"),
            sentence(
                _("Your bank needs you to confirm %(amount)s for %(name)s."),
                amount=amount_tag(summary.minor or 0, summary.currency or ""),
                name=summary.name or _("a purchase"),
            ),
            _("You won’t be charged until you do."),
            here("payment", payment_id=summary.id),
            _("Continue"),
            summary.name or _("Purchase"),
        )
        for summary in summaries
        if summary.kind == "purchase" and summary.status == "requires_customer_action"
    ]


def _cards(rows: list[SubscriptionRow]) -> list[AttentionItem]:
    found: dict[tuple[str, str], list[SubscriptionRow]] = {}
    for row in rows:
        if not row.last4 or row.is_ending or row.collected_by != "us" or not is_charged(row):
            continue
        if row.has_stale_method or is_soon(row.expiry_month, row.expiry_year):
            found.setdefault((row.brand or "", row.last4), []).append(row)
    return [_expiring(affected) for affected in found.values()]


def _expiring(affected: list[SubscriptionRow]) -> AttentionItem:
    first = affected[0]
    name, day = card(first.brand, first.last4, first.kind), last_day(first.expiry_month, first.expiry_year)
    if any(row.has_stale_method for row in affected) or day is None:
        title, fact = _("Card not usable"), sentence(_("Your %(card)s can no longer be charged. Add it again."), card=name)
    else:
        has_expired = day < formatter().today()
        pattern = _("Your %(card)s expired on %(date)s.") if has_expired else _("Your %(card)s expires on %(date)s.")
        title, fact = _("Card expiring"), sentence(pattern, card=name, date=date_tag(day, "day"))
    names = list(dict.fromkeys(row.name for row in affected))
    listed = _("%(names)s and %(count)d more", names=", ".join(names[:3]), count=len(names) - 3) if len(names) > 3 else ", ".join(names)
    uses = ngettext("One subscription uses it: %(names)s.", "%(num)d subscriptions use it: %(names)s.", len(affected), names=listed)
    url = f"{here('subscriptions')}/{first.id}/payment-method" if len(affected) == 1 else here("payment_methods")
    return AttentionItem("card", "wait", title, fact, uses, url, _("Replace card"))


def _awaiting_bank(row: SubscriptionRow) -> AttentionItem:
    fact = sentence(_("%(amount)s for %(name)s is on its way."), amount=amount_tag(row.payment_minor or 0, row.currency), name=row.name)
    return AttentionItem(
        "clock",
        "wait",
        _("In progress"),
        fact,
        bank_confirms(row.payment_days or 1),
        here("payment", payment_id=row.payment_id),
        _("View payment"),
        row.name,
    )


def _checking(row: SubscriptionRow) -> AttentionItem:
    fact = sentence(
        _("We’re checking %(amount)s for %(name)s with the bank."), amount=amount_tag(row.payment_minor or 0, row.currency), name=row.name
    )
    return AttentionItem(
        "ask",
        "check",
        _("Checking"),
        fact,
        _("We don’t know yet whether you were charged. You don’t need to do anything. Please don’t pay again."),
        here("payment", payment_id=row.payment_id),
        _("View payment"),
        row.name,
    )
