"""The page of a plan-change quote: price lines that add up to the amount due, and the next renewal."""

from __future__ import annotations

from dataclasses import dataclass

from flask import render_template
from flask_babel import gettext as _

from auth.sessions import fresh_proof_url
from billing.external.port import NO_CODES
from billing.model.discounts import discount_label as invoice_text
from billing.model.quotes import Quote
from billing.plan_changes.choices import PlanChoice, ShownPlans
from billing.pricing import prices
from billing.subscriptions.subscription_row import SubscriptionRow
from core.links import here
from core.template_context import formatter
from portal.discounts import codes_of_change, line_name
from portal.phrases import card, decline_reason, interval
from portal.renewals import next_charge
from portal.request_accounts import account
from portal.step_up import is_fresh


@dataclass(frozen=True)
class Slip:
    """The data of the page.

    `lines`: (label, minor units), which add up to `due_minor`. `needs_proof`: a recent sign-in is required (safety 2.7).
    """

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
class CodeField:
    """The submitted discount code and its error."""

    typed: str = ""
    error: str = ""


def slip_url(subscription_id: str, quote_id: str) -> str:
    return f"{here('subscriptions')}/{subscription_id}/plan-change/quotes/{quote_id}"


def slip_page(row: SubscriptionRow, shown: ShownPlans, field: CodeField | None = None) -> str:
    theirs = account(row.business_id, row.customer_id)
    data = slip(row, shown, prices.total(next_charge(row, theirs)))
    before_tax = not row.tax_inclusive and prices.rate_of(theirs, row.billing, row.tax_id).bps > 0
    return render_template(
        "portal/plan_slip.html",
        row=row,
        account=theirs,
        url=f"{here('subscriptions')}/{row.id}",
        shown=shown,
        quote=shown.quote,
        slip=data,
        each=interval,
        codes=codes_of_change(row, shown.quote, before_tax),
        field=field or CodeField(),
        takes_codes=row.collected_by not in NO_CODES,
        may_confirm=is_fresh() or not data.needs_proof,
        prove_url=fresh_proof_url(slip_url(row.id, shown.quote.id)),
    )


def needs_proof(row: SubscriptionRow, quote: Quote, before_minor: int) -> bool:
    """Return whether confirming needs a recent sign-in: an upgrade, or more than is paid today (safety 2.7)."""
    return quote.direction == "upgrade" or quote.due_minor > (0 if row.is_trial else before_minor)


def slip(row: SubscriptionRow, shown: ShownPlans, before_minor: int) -> Slip:
    """Return the data of the page. `before_minor`: price of one period of the current plan, in minor units."""
    quote, fmt = shown.quote, formatter()
    waits = quote.effective_at == "next_billing_date"
    lines: list[tuple[str, int]] = []
    if not waits:
        lines += _item_lines(shown)
        if quote.unused_minor:
            lines.append((_("Unused time on %(name)s", name=row.name), -quote.unused_minor))
        if quote.balance_minor > 0:
            lines.append((_("Credit from earlier"), -quote.balance_minor))
        elif quote.balance_minor:
            lines.append((_("Carried over from earlier"), -quote.balance_minor))
        if quote.credit_minor > 0:
            lines.append((_("Credit for your next payment"), quote.credit_minor))
        elif quote.credit_minor:
            lines.append((_("Too small to charge now, carried over"), quote.credit_minor))
    amount, day = fmt.money(quote.due_minor, quote.currency), fmt.date(quote.next_billing_at, "day")
    button = _("Pay %(amount)s and change", amount=amount) if quote.due_minor else _("Change now")
    same = quote.product_id == row.product_id
    return Slip(
        title=_("Change %(name)s", name=row.name) if same else _("Change from %(old)s to %(new)s", old=row.name, new=shown.name),
        lines=lines,
        tax_minor=quote.tax,
        due_minor=quote.due_minor,
        waits=waits,
        before_minor=before_minor,
        card=card(shown.method.brand, shown.method.last4, shown.method.kind) if shown.method else "",
        needs_proof=needs_proof(row, quote, before_minor),
        button=_("Change on %(date)s", date=day) if waits else button,
        declined=_decline_sentence(row, shown),
    )


def _item_lines(shown: ShownPlans) -> list[tuple[str, int]]:
    """Return the items at their full price, then one line per discount."""
    lines, off = [], dict[str, int]()
    names = [shown.name, *(addon["name"] for addon in shown.quote.addons)]
    for place, item in enumerate(line for line in shown.quote.lines if line.get("kind", prices.ITEM) == prices.ITEM):
        times = f" × {formatter().count(item['quantity'])}" if item["quantity"] > 1 else ""
        reductions = {label: minor for label, minor in item.get("off", [])}
        label = names[place] if reductions else item["description"]
        lines.append((f"{label}{times}", item["net_minor"] + item["tax_minor"] + sum(reductions.values())))
        for code, minor in reductions.items():
            off[code] = off.get(code, 0) + minor
    names_by_text = {invoice_text(discount): line_name(discount) for discount in shown.quote.discounts}
    return lines + [(names_by_text.get(code, code), -minor) for code, minor in off.items() if minor]


def plan_effect(row: SubscriptionRow, plan_choice: PlanChoice) -> str:
    """Return when a plan would start, as a sentence."""
    if plan_choice.option.is_current:
        return _("Your current plan.")
    if not plan_choice.waits:
        return _("Starts today.")
    day = formatter().date(row.next_billing_at, "day") if row.next_billing_at else ""
    return _("Starts on %(date)s. Nothing to pay today.", date=day)


def _decline_sentence(row: SubscriptionRow, shown: ShownPlans) -> str:
    """Return why the change was not made; an empty string unless the payment was declined."""
    if shown.quote.outcome != "declined":
        return ""
    why = decline_reason(shown.payment.error_code if shown.payment else None)
    unchanged = _("%(name)s is unchanged.", name=row.name)
    if why:
        return _("The payment didn’t go through: %(why)s. You weren’t charged.", why=why) + f" {unchanged}"
    return _("The payment didn’t go through. You weren’t charged.") + f" {unchanged}"
