"""What customers read about the refund policy: each rule with how it applies, and why something cannot be refunded."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from flask_babel import gettext as _
from flask_babel import ngettext

from auth.visit_rows import Account
from billing.model.refund_policy import RefundPolicy
from billing.self_refunds.assessment import Assessment, Condition
from billing.self_refunds.refund_payment import OBSTACLES, REASONS
from core.template_context import formatter


@dataclass(frozen=True)
class ConditionText:
    is_met: bool
    title: str
    detail: str


def kind_labels() -> dict[str, str]:
    return {
        "one_time": _("One-time purchases"),
        "first_payment": _("First payments of subscriptions"),
        "renewal": _("Renewals of subscriptions"),
    }


def condition_texts(assessed: Assessment, business: Account) -> list[ConditionText]:
    return [
        ConditionText(item.is_met, _title(item, assessed.policy), _detail(item, assessed.paid_at, business)) for item in assessed.conditions
    ]


def why_not(assessed: Assessment, business: Account) -> list[str]:
    """Return the reasons why the customer cannot refund the payment, as sentences. Empty if they can."""
    if assessed.obstacle is not None:
        return [obstacle_text(assessed.obstacle, business)]
    return [item.detail for item in condition_texts(assessed, business) if not item.is_met]


def obstacle_text(obstacle: str, business: Account) -> str:
    contact = business.support_email or business.name
    if obstacle == "external":
        return _("%(business)s took this payment with its own billing system. For a refund, contact %(contact)s.",
                 business=business.name, contact=contact)  # fmt: skip
    if obstacle == "archived":
        return _("%(business)s has closed. It makes no more refunds here.", business=business.name)
    return _(OBSTACLES[obstacle][1])


def reason_options() -> list[tuple[str, str]]:
    """Return (code, label) of the reasons; the first is the empty choice."""
    return [("", _("Choose a reason")), *((code, _(label)) for code, label in REASONS.items())]


def reason_label(reason: str | None) -> str:
    """Return the stored reason of a refund. The reasons of the list are translated; staff wrote the others."""
    return _(reason) if reason and reason in REASONS.values() else reason or ""


def _title(item: Condition, policy: RefundPolicy) -> str:
    if item.code == "kind":
        return ", ".join(label for kind, label in kind_labels().items() if kind in policy.kinds)
    if item.code == "days":
        return ngettext("Within one day of the payment", "Within %(num)d days of the payment", policy.days)
    if item.code == "keys":
        return _("License keys not activated")
    if item.code == "months":
        return ngettext("First refund in one month", "First refund in %(num)d months", policy.months)
    return _("Plan not changed since the payment") if item.code == "plan" else _("The latest payment of the subscription")


def _detail(item: Condition, paid_at: datetime, business: Account) -> str:
    fmt = formatter()
    day = fmt.date(item.at, "moment") if item.at else ""
    if item.code == "kind":
        return {
            "one_time": _("This is a one-time purchase."),
            "first_payment": _("This is the first payment of a subscription."),
            "renewal": _("This is a renewal of a subscription."),
        }.get(item.name, _("This payment is not covered."))
    if item.code == "days" and item.is_met:
        return _("Day %(day)s of %(days)s. You have until %(date)s.", day=fmt.count(item.used), days=fmt.count(item.limit or 0), date=day)
    if item.code == "days":
        return _("You paid on %(paid)s. The time ended on %(date)s.", paid=fmt.date(paid_at, "document"), date=day)
    if item.code == "keys" and item.limit is not None:
        return _("%(used)s of %(limit)s activations in use", used=item.used, limit=item.limit) + ("" if item.is_met else ".")
    if item.code == "keys":
        return ngettext("One activation in use.", "%(num)d activations in use.", item.used)
    if item.code == "months" and item.is_met:
        return _("You have had none from %(business)s in this time.", business=business.name)
    if item.code == "months":
        return _("You have refunded a payment already. You can refund one again from %(date)s.", date=day)
    if item.code == "plan":
        return _("The plan was changed on %(date)s.", date=day)
    return _("A later payment of this subscription was made.")
