"""The sentences of statements: what somebody declares, and what follows from it."""

from __future__ import annotations

from flask_babel import gettext as _

from billing.statements.declare import Declaration
from billing.statements.queries import StatementFacts
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


def outcome(facts: StatementFacts, business: str, locale: str) -> list[str]:
    """Return what follows from a statement whose contract is known, in the current language."""
    statement, what = facts.statement, facts.product or business

    def day(at: object) -> str:
        return formatting.date_words(at, locale, statement.zone, "document")  # type: ignore[arg-type]

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
