"""The home page of a business's console: what needs attention, setup, the figures of this month, and what is next."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

from flask import render_template
from flask_babel import gettext as _
from flask_babel import ngettext
from markupsafe import Markup

from billing.customers.portal_settings import the_business
from billing.history import console_home, staff_lists
from billing.history.console_home import HomeFigures
from billing.history.failing_work import needs_attention
from billing.pricing.tax_setup import is_set_up
from core import clock
from core.formatting import local_date
from core.links import here
from core.request_context import db
from portal.attention import AttentionItem
from portal.phrases import interval
from tenants import api_keys
from tenants.console.access import bp, current_member, needs
from tenants.webhooks import endpoints

RECENT = 5


@dataclass(frozen=True)
class SetupStep:
    """One step of the checklist. `url` is empty if the member's role does not allow the step."""

    is_done: bool
    label: str
    sentence: str
    url: str
    button: str


@bp.get("/<business_id>")
@needs("customers.read")
def home() -> str:
    member = current_member()
    zone = ZoneInfo(member.profile.zone)
    first = local_date(clock.now(), member.profile.zone).replace(day=1)
    before = (first - timedelta(days=1)).replace(day=1)
    found = console_home.figures(db(replica=True), datetime.combine(first, time.min, zone), datetime.combine(before, time.min, zone))
    return render_template(
        "tenants/console/home.html",
        first=first,
        before=before,
        found=found,
        attention=_attention(found),
        steps=_steps(found),
        payments=staff_lists.payments(db(replica=True), limit=RECENT),
        interval=interval,
    )


def _attention(found: HomeFigures) -> list[AttentionItem]:
    """The worst first: payments that differ, unpaid subscriptions, failing tasks, failing webhooks."""
    items = []
    subscriptions = here("console.subscriptions")
    if count := len(staff_lists.waiting(db())):
        fact = ngettext("One payment needs reconciliation.", "%(num)d payments need reconciliation.", count)
        sentence = _("The payment provider and this portal disagree about them.")
        items.append(_item(("check", "ask", _("Problem")), fact, sentence, here("console.reconciliation"), _("Review payments")))
    if count := found.by_status.get("on_hold", 0):
        fact = ngettext("One subscription is on hold.", "%(num)d subscriptions are on hold.", count)
        sentence = _("The last payment failed. Open the subscription to send the customer a link to pay.")
        url = f"{subscriptions}?state=on_hold"
        items.append(_item(("due", "hold", _("Problem")), fact, sentence, url, _("View subscriptions")))
    if count := found.by_status.get("past_due", 0):
        fact = ngettext("One subscription is past due.", "%(num)d subscriptions are past due.", count)
        sentence = _("The portal reminds the customer and tries the payment again.")
        url = f"{subscriptions}?state=past_due"
        items.append(_item(("wait", "late", _("Notice")), fact, sentence, url, _("View subscriptions")))
    business = the_business(db())
    if not is_set_up(business):
        fact, sentence = _("No taxes are set up."), _("Customers are charged without tax. Set them up before your first real payment.")
        items.append(_item(("wait", "late", _("Notice")), fact, sentence, here("console.taxes"), _("Set up taxes")))
    if needs_attention(db()):
        sentence, url = _("Renewals, emails and other tasks that keep failing are listed with the reason."), here("console.failing")
        items.append(_item(("due", "hold", _("Problem")), _("Some tasks keep failing."), sentence, url, _("See what to do")))
    return items + _failing_webhooks()


def _item(kind: tuple[str, str, str], fact: str, sentence: str, url: str, button: str) -> AttentionItem:
    """`kind`: color, icon, and the word that screen readers say first."""
    voice, icon, spoken = kind
    return AttentionItem(icon, voice, spoken, Markup.escape(fact), sentence, url, button)


def _failing_webhooks() -> list[AttentionItem]:
    if not current_member().may("developers.read"):
        return []
    rows, _done = endpoints.page(db(), endpoints.MAX_ENDPOINTS)
    failing = [row for row in rows if row.failing_since or (row.disabled and row.disabled_why != "asked")]
    if not failing:
        return []
    fact = ngettext("One webhook does not answer successfully.", "%(num)d webhooks do not answer successfully.", len(failing))
    sentence = _("Your programs miss events until the webhook answers again.")
    return [_item(("wait", "late", _("Notice")), fact, sentence, here("console.webhooks"), _("View webhooks"))]


def _steps(found: HomeFigures) -> list[SetupStep]:
    """The setup of a new business, or nothing once all of it is done."""
    business, may = the_business(db()), current_member().may
    has_key = bool(found.by_status) or any(not key.revoked_at for key in api_keys.keys_of(db()))
    steps = [
        SetupStep(
            found.has_product,
            _("Create a product"),
            _("A product has a name and a price. Customers subscribe to it or buy it once."),
            f"{here('console.products')}/new" if may("products.write") else "",
            _("New product"),
        ),
        SetupStep(
            bool(business.brand),
            _("Set your brand"),
            _("Your logo and accent color appear in your portal and on your emails and invoices."),
            here("console.brand") if may("brand.write") else "",
            _("Open brand"),
        ),
        SetupStep(
            bool((business.address or {}).get("street")),
            _("Enter your business details"),
            _("Your legal name and address are shown on invoices."),
            f"{here('console.settings')}/details" if may("settings.write") else "",
            _("Edit details"),
        ),
        SetupStep(
            has_key,
            _("Create an API key"),
            _("Your programs need an API key to create customers, subscriptions and portal links."),
            f"{here('console.keys')}/new" if may("developers.keys") else "",
            _("Create key"),
        ),
    ]
    return [] if all(step.is_done for step in steps) else steps
