"""A preview of the portal for the frames of the brand and language pages, made with the templates and tokens of the real pages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from flask import Response, make_response, render_template
from flask_babel import gettext as _
from markupsafe import Markup

from core.brand import brand_css, scheme_of
from core.request_context import Door
from core.security import csp_nonce
from core.template_context import date_tag, formatter, state_tag
from portal.attention import AttentionItem
from portal.phrases import card, interval, sentence
from portal.reader import Reader
from tenants.console.access import current_member

CUSTOMER = Reader("Ada Marlow", "ada@example.com", None, None)
HERE = "#main"  # where the links of the preview lead


def portal_preview(brand: dict[str, Any], scheme: str, languages: Sequence[tuple[str, str, bool]] = ()) -> Response:
    """Return an overview with sample data. `scheme`: that of the customer's device; a brand with one scheme keeps its own."""
    profile = replace(current_member().profile, brand=brand)
    door = Door.of_business("business", profile, HERE)
    own = scheme_of(brand)
    return framed(
        render_template(
            "tenants/console/portal_preview.html",
            door=door,
            visitor=CUSTOMER,
            brand_style=Markup(brand_css(brand)),  # noqa: S704
            scheme=scheme if own == "system" else own,
            navigation=_navigation,
            account_links=list,
            languages=lambda: languages,
            is_operator=lambda: False,
            needs=[_unpaid()],
            line=_line(profile),
        )
    )


def framed(page: str) -> Response:
    """Return a page for a frame of the console, with a policy that blocks scripts and forms."""
    answer = make_response(page)
    answer.headers["Content-Security-Policy"] = (
        f"default-src 'none'; style-src 'self' 'nonce-{csp_nonce()}'; img-src 'self'; frame-ancestors 'self'; base-uri 'none'; "
        "form-action 'none'"
    )
    return answer


def _navigation() -> list[tuple[str, str, str]]:
    labels = (_("Overview"), _("Subscriptions"), _("Purchases"), _("Billing history"), _("Payment methods"), _("License keys"))
    return [(HERE, label, "" if number else "page") for number, label in enumerate(labels)]


def _unpaid() -> AttentionItem:
    amount = formatter().money(5400, current_member().currency)
    fact = _("%(name)s is on hold. %(amount)s is due.", name=_("Archive, yearly"), amount=amount)
    body = _(
        "Your bank declined the payment, and you were not charged. Your subscription is on hold until this is paid. You can use any card."
    )
    return AttentionItem("hold", "due", _("Problem"), Markup.escape(fact), body, HERE, _("Pay %(amount)s", amount=amount), is_main=True)


def _line(profile: Any) -> dict[str, Any]:
    """Sample values for the row of a subscription, with the names of `portal.subscription_rows.SubscriptionLine`."""
    return {
        "row": {"name": _("Archive, monthly"), "is_ending": False},
        "account": profile,
        "url": HERE,
        "state": state_tag("subscription", "active"),
        "when": sentence(_("renews %(date)s"), date=date_tag(formatter().today(), "day")),
        "card": card("visa", "4242"),
        "price": formatter().money(480, current_member().currency),
        "interval": interval("Month"),
        "about": _("Archive, monthly"),
        "actions": [{"label": _("Change plan"), "url": HERE}],
    }
