"""The sentences of statements: what somebody declares, and what follows from it."""

from __future__ import annotations

from flask_babel import gettext as _

from billing.rights.right import Right
from billing.statements.declare import Declaration
from billing.statements.queries import StatementFacts
from billing.statements.withdrawal_queries import WithdrawalState
from core import formatting


def declared(declaration: Declaration, business: str, locale: str) -> str:
    """Return the sentence that the person declares, in the current language."""
    names = {"contract": declaration.contract, "business": business}
    if declaration.is_for_cause:
        return _("I cancel the contract “%(contract)s” with %(business)s for good cause and with immediate effect.", **names)
    if declaration.wanted_on is not None:
        day = formatting.date_words(declaration.wanted_on, locale, style="document")
        return _("I cancel the contract “%(contract)s” with %(business)s. It should end on %(date)s or soon after.", date=day, **names)
    return _("I cancel the contract “%(contract)s” with %(business)s, to end as soon as possible.", **names)


def withdrawal(what: str, business: str) -> str:
    """Return the sentence that a withdrawal declares, in the current language."""
    return _("I withdraw from the contract for “%(contract)s” with %(business)s.", contract=what, business=business)


def right_words(right: Right, locale: str) -> str:
    """Return until when a customer can withdraw, or why not, in the current language."""
    last = formatting.date_words(right.last_day, locale, style="document") if right.last_day else ""
    if right.state == "open":
        return _("You can withdraw until %(date)s. You don’t need to give a reason.", date=last)
    if right.state == "over":
        return _("You could withdraw until %(date)s. The period has ended.", date=last)
    if right.state == "delivered":
        since = formatting.date_words(right.concluded_at, locale, "UTC", "document")
        return _("You agreed that the delivery begins at once and that you can’t withdraw then. It began on %(date)s.", date=since)
    if right.party == "business":
        return _("Only consumers can withdraw. This was bought as a business.")
    return _("The law at your address gives no right to withdraw without a reason.")


def outcome(facts: StatementFacts, business: str, locale: str) -> list[str]:
    """Return what follows from a statement whose contract is known, in the current language."""
    statement, what = facts.statement, facts.product or business

    def day(at: object) -> str:
        return formatting.date_words(at, locale, statement.zone, "document")  # type: ignore[arg-type]

    if facts.withdrawal is not None:
        return _withdrawn(facts, facts.withdrawal, business, locale)
    if statement.status == "planned" and statement.wanted_at is not None:
        return [
            _("%(what)s ends at the end of the billing period that contains %(date)s.", what=what, date=day(statement.wanted_at)),
            _("Until then it renews as usual. We email you when the end date is fixed."),
        ]
    sentences = []
    if facts.is_external:
        sentences.append(
            _("We asked the billing system of %(business)s to end %(what)s. We email you if it doesn’t.", business=business, what=what)
        )
    elif statement.ends_at is not None:
        sentences.append(_("%(what)s ends on %(date)s. You won’t be charged again.", what=what, date=day(statement.ends_at)))
    else:
        sentences.append(_("%(what)s ends at the end of the billing period. You won’t be charged again.", what=what))
    if statement.status == "waiting":
        sentences.append(
            _("%(business)s decides whether it ends sooner, and answers by %(date)s.", business=business, date=day(statement.answer_by))
        )
    sentences.append(_("Your invoices stay available."))
    return sentences


def _withdrawn(facts: StatementFacts, state: WithdrawalState, business: str, locale: str) -> list[str]:
    statement, row, what = facts.statement, state.withdrawal, facts.product or business

    def amount(minor: int) -> str:
        return formatting.money(minor, row.currency, locale)

    sentences = []
    if facts.is_external:
        sentences.append(_("We asked the billing system of %(business)s to end %(what)s.", business=business, what=what))
    else:
        sentences.append(_("The contract for %(what)s has ended. You won’t be charged again.", what=what))
    at_once = row.refund_minor - state.left_minor
    if at_once:
        sentences.append(_("%(amount)s is refunded to the payment method that you paid with.", amount=amount(at_once)))
    if state.left_minor:
        by = formatting.date_words(row.refund_by, locale, statement.zone, "document")
        sentences.append(_("%(business)s refunds %(amount)s by %(date)s.", business=business, amount=amount(state.left_minor), date=by))
    if row.kept_minor:
        sentences.append(_("%(amount)s is kept for the days that you used.", amount=amount(row.kept_minor)))
    sentences.append(_("Your invoices stay available."))
    return sentences
