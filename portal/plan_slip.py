"""The figures of a plan change in words: lines that add up to what is due, and what comes after."""

from __future__ import annotations

from dataclasses import dataclass

from flask import render_template
from flask_babel import gettext as _

from auth.sessions import fresh_proof_url
from billing import pricing
from billing.discounts import words as on_paper
from billing.queries.plan_choices import Choice, Shown
from billing.queries.subscriptions import SubscriptionRow
from core.pages import words
from core.web import here
from portal.discounts import codes_of, name
from portal.proof import is_fresh
from portal.renewals import next_charge
from portal.standing import account
from portal.words import card, interval, reason


@dataclass(frozen=True)
class Slip:
    """`lines`: (words, minor units), which add up to `due_minor`. `needs_proof`: safety 2.7."""

    title: str
    lines: list[tuple[str, int]]
    tax_minor: int
    due_minor: int
    waits: bool
    before_minor: int
    card: str
    needs_proof: bool
    button: str
    declined: str


@dataclass(frozen=True)
class Field:
    """The discount code that was typed, and what is wrong with it."""

    typed: str = ""
    error: str = ""


def slip_url(subscription_id: str, quote_id: str) -> str:
    return f"{here('subscriptions')}/{subscription_id}/plan-change/quotes/{quote_id}"


def slip_page(row: SubscriptionRow, shown: Shown, field: Field | None = None) -> str:
    theirs = account(row.business_id, row.customer_id)
    told = slip(row, shown, pricing.total(next_charge(row, theirs)))
    before_tax = not row.tax_inclusive and pricing.rate_of(theirs, row.billing, row.tax_id).bps > 0  # type: ignore[arg-type]
    return render_template(
        "portal/plan_slip.html", row=row, account=theirs, url=f"{here('subscriptions')}/{row.id}", shown=shown, quote=shown.quote,
        slip=told, each=interval, codes=codes_of(row, shown.quote, before_tax), field=field or Field(),
        may_confirm=is_fresh() or not told.needs_proof, prove_url=fresh_proof_url(slip_url(row.id, shown.quote.id)))


def slip(row: SubscriptionRow, shown: Shown, before_minor: int) -> Slip:
    """`before_minor`: what one period of the present plan takes."""
    quote, said = shown.quote, words()
    waits = quote.effective_at == "next_billing_date"
    lines: list[tuple[str, int]] = []
    if not waits:
        lines += _bought(shown)
        if quote.unused_minor:
            lines.append((_("%(name)s, paid and not used", name=row.name), -quote.unused_minor))
        if quote.balance_minor > 0:
            lines.append((_("Credit from earlier"), -quote.balance_minor))
        elif quote.balance_minor:
            lines.append((_("Carried over from earlier"), -quote.balance_minor))
        if quote.credit_minor > 0:
            lines.append((_("Kept as credit for the next payment"), quote.credit_minor))
        elif quote.credit_minor:
            lines.append((_("Too small to take now, carried over"), quote.credit_minor))
    amount, day = said.money(quote.due_minor, quote.currency), said.date(quote.next_billing_at, "day")
    button = _("Pay %(amount)s and change", amount=amount) if quote.due_minor else _("Change now")
    same = quote.product_id == row.product_id
    return Slip(
        title=_("%(name)s, changed", name=row.name) if same else _("From %(old)s to %(new)s", old=row.name, new=shown.name),
        lines=lines, tax_minor=quote.tax, due_minor=quote.due_minor, waits=waits, before_minor=before_minor,
        card=card(shown.method.brand, shown.method.last4, shown.method.kind) if shown.method else "",
        needs_proof=quote.direction == "upgrade" or quote.due_minor > (0 if row.is_trial else before_minor),
        button=_("Change on %(date)s", date=day) if waits else button,
        declined=_why(row, shown))


def _bought(shown: Shown) -> list[tuple[str, int]]:
    """What is bought at its whole price, then what each discount takes off."""
    lines, off = [], dict[str, int]()
    names = [shown.name, *(one["name"] for one in shown.quote.addons)]
    for place, one in enumerate(line for line in shown.quote.lines if line.get("kind", pricing.ITEM) == pricing.ITEM):
        times = f" × {words().count(one['quantity'])}" if one["quantity"] > 1 else ""
        less = {what: minor for what, minor in one.get("off", [])}
        what = names[place] if less else one["description"]
        lines.append((f"{what}{times}", one["net_minor"] + one["tax_minor"] + sum(less.values())))
        for code, minor in less.items():
            off[code] = off.get(code, 0) + minor
    said = {on_paper(one): name(one) for one in shown.quote.discounts}
    return lines + [(said.get(code, code), -minor) for code, minor in off.items() if minor]


def moves(row: SubscriptionRow, one: Choice) -> str:
    """What choosing a plan does, and when: one sentence under its name."""
    option = one.option
    if option.is_current:
        return _("What you have now.")
    day = words().date(row.next_billing_at, "day") if row.next_billing_at else ""
    sentences = {
        ("upgrade", False): _("Moves up now."), ("upgrade", True): _("Moves up on %(date)s; nothing to pay today.", date=day),
        ("downgrade", False): _("Moves down now."), ("downgrade", True): _("Moves down on %(date)s; nothing to pay today.", date=day),
        ("same", False): _("Moves now."), ("same", True): _("Moves on %(date)s; nothing to pay today.", date=day),
    }
    return sentences[option.direction, one.waits]


def _why(row: SubscriptionRow, shown: Shown) -> str:
    """Why nothing came of it; empty unless the payment was declined."""
    if shown.quote.outcome != "declined":
        return ""
    why = reason(shown.payment.error_code if shown.payment else None)
    stays = _("%(name)s stays as it is.", name=row.name)
    if why:
        return _("The payment did not go through: %(why)s. Nothing was taken.", why=why) + f" {stays}"
    return _("The payment did not go through. Nothing was taken.") + f" {stays}"
