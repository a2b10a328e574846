"""What needs the reader, worst first; nothing when nothing does."""

from __future__ import annotations

from dataclasses import dataclass

from flask import request
from flask_babel import gettext as _
from flask_babel import ngettext
from markupsafe import Markup

from billing.elsewhere import can
from billing.queries.overview import Holding
from billing.queries.subscriptions import SubscriptionRow
from core.pages import amount_tag, date_tag, words
from core.web import exists_here, here
from portal.words import card, is_soon, last_day, sentence


@dataclass
class Need:
    """One line of the slip: icon and voice, a bold fact, a sentence, at most one button."""

    icon: str
    voice: str
    spoken: str
    fact: Markup
    sentence: str | Markup
    url: str = ""
    button: str = ""
    about: str = ""
    is_main: bool = False


def needs(rows: list[SubscriptionRow]) -> list[Need]:
    prefix = here("subscriptions")
    out = [_due(row, f"{prefix}/{row.id}") for row in rows if row.dues_minor]
    if out:
        out[0].is_main = True  # one filled button a page
    out += [_held_elsewhere(row, f"{prefix}/{row.id}") for row in rows if row.status == "on_hold" and row.collected_by != "us"]
    out += [_confirm(row) for row in rows if row.needs_confirming]
    out += [_finish(row) for row in rows if is_left_open(row)]
    out += _cards(rows)
    return out + [_checking(row) for row in rows if row.is_checking]


def unconfirmed(names: list[str], url: str) -> list[Need]:
    """Businesses that were paid under the reader's address, who have not said yet whether that was them."""
    if not names:
        return []
    listed = _("%(names)s and %(count)d more", names=", ".join(names[:3]), count=len(names) - 3) if len(names) > 3 else ", ".join(names)
    return [Need("ask", "check", _("New here"), sentence(_("New here: %(names)s."), names=listed),
                 _("It was paid under your address. Say whether that was you."), url, _("Look at it"), listed)]


def _due(row: SubscriptionRow, url: str) -> Need:
    amount = amount_tag(row.dues_minor, row.currency)
    pattern = _("%(name)s is on hold. %(amount)s is due.") if row.status == "on_hold" else _("%(name)s is late. %(amount)s is due.")
    why = sentence(_("The last payment did not go through. It starts again as soon as this is paid."))
    since = row.on_hold_at or row.next_billing_at
    if since:
        why = sentence(_("The payment did not go through, and it stopped on %(date)s. It starts again as soon as this is paid."),
                       date=date_tag(since, "day"))
    pay = exists_here("payment_method")
    said = words().money(row.dues_minor, row.currency)
    return Need("hold", "due", _("On hold"), sentence(pattern, name=row.name, amount=amount), why,
                f"{url}/payment-method" if pay else url, _("Pay %(amount)s", amount=said) if pay else _("Look at it"),
                _("for %(what)s", what=row.name))


def _held_elsewhere(row: SubscriptionRow, url: str) -> Need:
    """The system that collects it says neither what is due nor takes it here."""
    pay = can(row.collected_by, "change_method") and exists_here("payment_method")
    return Need("hold", "due", _("On hold"), sentence(_("%(name)s is on hold."), name=row.name), _("Its last payment did not go through."),
                f"{url}/payment-method" if pay else url, _("Pay on its page") if pay else _("Look at it"), row.name)


def _confirm(row: SubscriptionRow) -> Need:
    fact = sentence(_("Your bank needs you to confirm %(amount)s for %(name)s."),
                    amount=amount_tag(row.payment_minor or 0, row.currency), name=row.name)
    other = _("Nothing is taken until you do. You can also use another card.") if row.may_replace else _("Nothing is taken until you do.")
    return Need("late", "wait", _("Confirm with your bank"), fact, other, confirm_url(row), _("Continue"), row.name)


def _finish(row: SubscriptionRow) -> Need:
    fact = sentence(_("%(amount)s for %(what)s"), amount=amount_tag(row.payment_minor or 0, row.currency), what=row.name)
    why = f"{_('The payment provider’s page is still open.')} {_('Nothing is taken until you finish it.')}"
    return Need("clock", "wait", _("Not finished yet"), fact, why, confirm_url(row), _("Continue"), row.name)


def is_left_open(row: SubscriptionRow) -> bool:
    """Not for a reader who comes from that page just now (`status`): its result is on the way."""
    return row.is_unfinished and not request.args.get("status")


def confirm_url(row: SubscriptionRow) -> str:
    """Where an open challenge or page is continued: that page, or the payment's page for whoever only looks."""
    page: str = here("payment", payment_id=row.payment_id)
    return row.payment_url or page if exists_here("payment_method") else page


def unfinished(held: list[Holding]) -> list[Need]:
    """Purchases that wait for the bank's confirmation."""
    return [
        Need("late", "wait", _("Confirm with your bank"),
             sentence(_("Your bank needs you to confirm %(amount)s for %(name)s."), amount=amount_tag(one.minor or 0, one.currency or ""),
                      name=one.name or _("a purchase")),
             _("Nothing is taken until you do."), here("payment", payment_id=one.id), _("Continue"), one.name or _("Purchase"))
        for one in held if one.kind == "purchase" and one.status == "requires_customer_action"
    ]


def _cards(rows: list[SubscriptionRow]) -> list[Need]:
    found: dict[tuple[str, str], list[SubscriptionRow]] = {}
    for row in rows:
        if row.last4 and not row.is_ending and row.collected_by == "us" and is_soon(row.expiry_month, row.expiry_year):
            found.setdefault((row.brand or "", row.last4), []).append(row)
    return [_expiring(using) for using in found.values()]


def _expiring(using: list[SubscriptionRow]) -> Need:
    first = using[0]
    day = last_day(first.expiry_month, first.expiry_year)
    assert day is not None
    gone = day < words().today()
    pattern = _("Your %(card)s expired on %(date)s.") if gone else _("Your %(card)s expires on %(date)s.")
    fact = sentence(pattern, card=card(first.brand, first.last4, first.kind), date=date_tag(day, "day"))
    names = list(dict.fromkeys(row.name for row in using))
    listed = _("%(names)s and %(count)d more", names=", ".join(names[:3]), count=len(names) - 3) if len(names) > 3 else ", ".join(names)
    uses = ngettext("One subscription uses it: %(names)s.", "%(num)d subscriptions use it: %(names)s.", len(using), names=listed)
    url = f"{here('subscriptions')}/{first.id}/payment-method" if len(using) == 1 else here("payment_methods")
    return Need("card", "wait", _("Card expiring"), fact, uses, url, _("Replace the card"))


def _checking(row: SubscriptionRow) -> Need:
    fact = sentence(_("We are checking %(amount)s for %(name)s with the bank."),
                    amount=amount_tag(row.payment_minor or 0, row.currency), name=row.name)
    return Need("ask", "check", _("Checking"), fact,
                _("We do not know yet whether it was taken. Nothing to do, and please do not pay again."),
                here("payment", payment_id=row.payment_id), _("See the payment"), row.name)
