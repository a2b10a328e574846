"""Texts of the evidence of the tax of an invoice, on the payment's page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flask_babel import gettext as _

from tenants.console.tax_view import case_sentence, country_name, day_words, place


@dataclass(frozen=True)
class EvidenceView:
    """The evidence of the tax of an invoice in words."""

    place: str
    clear: bool
    facts: str
    sentences: list[str]
    registration: str
    vat_id: str
    check: str
    day: str
    calculation: str
    report: str


def view_of_evidence(evidence: Mapping[str, Any] | None, recorded: str | None) -> EvidenceView | None:
    """`recorded`: the id of the sale at the hosted calculator, None if it is not recorded there."""
    if evidence is None:
        return None
    calculation = evidence.get("calculation") or {}
    report = _("Recorded there as %(id)s.", id=recorded) if recorded else _("Not yet recorded there.")
    facts, check = evidence["facts"], evidence.get("vat_id") or {}
    address, card, ip = (country_name(facts.get(name)) or _("unknown") for name in ("address", "card", "ip"))
    number = evidence.get("registration")
    return EvidenceView(
        place({"country": evidence["country"], "region": evidence["region"]}) or _("Unknown"),
        bool(evidence["clear"]),
        _("Address: %(address)s. Card: %(card)s. IP address: %(ip)s.", address=address, card=card, ip=ip),
        [sentence for sentence in map(case_sentence, evidence["cases"]) if sentence],
        _("Registration %(number)s", number=number) if number else "",
        str(check.get("number") or ""),
        _check_sentence(check) if check else "",
        day_words(evidence["tax_point"]),
        str(calculation.get("reference") or ""),
        report,
    )


def _check_sentence(check: Mapping[str, Any]) -> str:
    """Return what VIES had answered when the invoice was issued."""
    if check["status"] == "valid":
        day = day_words(check["checked_at"][:10])
        if check["consultation"]:
            return _("Valid in VIES on %(day)s, consultation number %(number)s.", day=day, number=check["consultation"])
        return _("Valid in VIES on %(day)s.", day=day)
    if check["status"] == "invalid":
        return _("Not valid in VIES on %(day)s. Taxed like a consumer.", day=day_words(check["checked_at"][:10]))
    if check["status"] == "unavailable":
        return _("VIES did not answer. The form of the number is right.")
    return _("Not yet checked with VIES. The form of the number is right.")
