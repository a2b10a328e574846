"""What follows from each action, as a receipt prints it: facts with their values, the last amount, and sentences."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from billing.model.subscriptions import Subscription
from billing.receipts.context import Context
from core import formatting as show
from core.formatting import count

Row = tuple[str, str]
NAMES = 10
"""How many subscriptions a sentence names."""


@dataclass(frozen=True)
class Outcome:
    """`facts`: labels with their values. `total`: the amount that is or will be charged. `follows`: sentences."""

    facts: list[Row] = field(default_factory=list)
    total: Row | None = None
    follows: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Given:
    """Values that only the action knows. Amounts in minor units. `old`, `new`: plans with their quantity."""

    old: str = ""
    new: str = ""
    amount_minor: int = 0
    credit_minor: int = 0
    paid_at: datetime | None = None
    method: str | None = None
    document: str | None = None


def cancellation(context: Context, given: Given) -> Outcome:
    subscription, words, dues = _of(context), context.words, context.dues_minor
    ends = subscription.next_billing_at if subscription.next_billing_at and subscription.next_billing_at > context.at else None
    follows = []
    if ends and subscription.status == "active":
        follows.append(context.say("active_until", day=context.day(ends)))
    if ends and subscription.status == "active" and context.has_keys:
        follows.append(words["keys_until"])
    follows.append(words["may_undo"])
    facts = [(context.say("ends"), context.day(ends) if ends else words["end_of_period"])]
    if dues:
        facts.append((words["still_due"], context.money(dues)))
    return _ended(context, facts, follows)


def cancellation_now(context: Context, given: Given) -> Outcome:
    """Call this before the subscription ends, because its open invoices become void."""
    words, dues = context.words, context.dues_minor
    facts = [(context.say("ended"), show.instant_words(context.at, context.language, context.figures.zone))]
    if dues:
        facts.append((words["no_longer_due"], context.money(dues)))
    return _ended(context, facts, [context.say("never_again"), *([words["keys_stopped"]] if context.has_keys else [])])


def _ended(context: Context, facts: list[Row], follows: list[str]) -> Outcome:
    if others := context.others:
        follows.append(context.say("others", names=", ".join(others[:NAMES])))
    return Outcome(facts, (context.words["after"], context.money(0)), [*follows, context.words["invoices"]])


def cancellation_undone(context: Context, given: Given) -> Outcome:
    return Outcome(_next_payment(context), follows=[context.say("renews")])


def pause(context: Context, given: Given) -> Outcome:
    subscription, words = _of(context), context.words
    facts = [(words["paused_since"], show.instant_words(context.at, context.language, context.figures.zone))]
    left = (subscription.next_billing_at - context.at).days if subscription.next_billing_at else 0
    if left > 0:
        facts.append((words["paid_time"], words["days"].format(count=count(left, context.language))))
    follows = [words["until_resumed"], *([words["keys_paused"]] if context.has_keys else [])]
    return Outcome(facts, (words["while_paused"], context.money(0)), follows)


def resume(context: Context, given: Given) -> Outcome:
    return Outcome(_next_payment(context), follows=[context.say("usable")])


def plan_change(context: Context, given: Given) -> Outcome:
    words = context.words
    facts = [(words["plan_before"], given.old), (words["plan_after"], given.new)]
    if given.credit_minor > 0:
        facts.append((words["credit"], context.money(given.credit_minor)))
    return Outcome([*facts, *_next_payment(context)], (words["charged"], context.money(given.amount_minor)))


def plan_change_scheduled(context: Context, given: Given) -> Outcome:
    words, starts = context.words, _of(context).next_billing_at
    facts = [(words["plan_before"], given.old), (words["plan_after"], given.new)]
    if starts:
        facts.append((words["starts"], context.day(starts)))
    return Outcome(facts, (words["charged"], context.money(0)), [words["keeps_until"].format(old=given.old), words["may_undo"]])


def plan_change_undone(context: Context, given: Given) -> Outcome:
    return Outcome(_next_payment(context), follows=[context.say("renews")])


def refund(context: Context, given: Given) -> Outcome:
    words, facts = context.words, []
    if given.paid_at:
        facts.append((words["paid_on"], context.day(given.paid_at)))
    if given.method:
        facts.append((words["refunded_to"], context.figures.method(given.method)))
    if given.document:
        facts.append((words["document"], given.document))
    return Outcome(facts, (words["refunded"], context.money(given.amount_minor)), [words["bank_days"]])


OUTCOMES: dict[str, Callable[[Context, Given], Outcome]] = {
    "cancellation": cancellation,
    "cancellation_now": cancellation_now,
    "cancellation_undone": cancellation_undone,
    "pause": pause,
    "resume": resume,
    "plan_change": plan_change,
    "plan_change_scheduled": plan_change_scheduled,
    "plan_change_undone": plan_change_undone,
    "refund": refund,
}
"""By the kind of a receipt (billing/model/receipts.py)."""


def _of(context: Context) -> Subscription:
    assert context.subscription is not None
    return context.subscription


def _next_payment(context: Context) -> list[Row]:
    """Return the date of the next payment, unless the subscription ends before it."""
    subscription, at = _of(context), _of(context).next_billing_at
    if at is None or at <= context.at or subscription.cancel_at_period_end:
        return []
    ends = subscription.expires_at is not None and at >= subscription.expires_at
    return [] if ends else [(context.words["next_payment"], context.day(at))]
