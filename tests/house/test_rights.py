"""The table of rights: every row says where it comes from, every language has labels, and `docs/rights.md` is made from it.

After a change of the table: `PORTAL_WRITE_RIGHTS=1 pytest tests/house/test_rights.py`.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from billing.documents.statement_words import WORDS
from billing.rights.table import (
    EVERYWHERE,
    CancelRule,
    ConsentRule,
    WithdrawRule,
    cancel_labels,
    cancel_rule,
    table,
    withdraw_labels,
    withdraw_rule,
)
from core.languages import supported

DOCUMENT = Path(__file__).resolve().parents[2] / "docs/rights.md"
CERTAINTY = {"read": "read in the primary text", "summary": "from a summary", "inferred": "inferred", "general": "not verified"}


def made() -> str:
    """Return the document as it should be."""
    rows = [
        "# Customers' rights",
        "",
        "What the law asks of sellers of subscriptions, as this portal applies it. It is not legal advice. The source is",
        "`billing/rights/table.toml`; a lawyer can review that file alone. A place without a row of its own gets the row for every other",
        "place, which is the strictest.",
        "",
        "## Cancel without signing in",
        "",
        "The portal offers it in every country and to every customer, at `/cancel` and `/cancel/<business_id>`. No setting of a business",
        "switches it off. Which statements take effect at once, and what staff decide, says [customers](merchants/customers.md).",
        "",
        "| where | for | without signing in | on one page | staff answer within | source | checked |",
        "|---|---|---|---|---|---|---|",
        *(_row(row) for row in table().cancel),
        "",
        "### Words",
        "",
        "| where | language | link to the page | button | |",
        "|---|---|---|---|---|",
        *(
            f"| {_places(row)} | {label.language} | {label.first} | {label.second} | "
            f"{'prescribed by ' + label.law if label.fixed else 'a translation'} |"
            for row in table().cancel
            for label in row.labels.values()
        ),
        "",
        *_withdraw(),
        "## Proof of consents",
        "",
        "| where | for | kept for | after the end of a subscription | source | checked |",
        "|---|---|---|---|---|---|",
        *(
            f"| {_places(row)} | {', '.join(row.parties)} | {row.keep_years} years | {row.after_end_years} year "
            f"| {row.source} | {row.checked}, {CERTAINTY[row.certainty]} |"
            for row in table().consent
        ),
        "",
    ]
    return "\n".join(rows)


def _withdraw() -> list[str]:
    labelled = [(row, label) for row in table().withdraw for label in row.labels.values()]
    return [
        "## Withdraw from a contract",
        "",
        "The period begins with the day after the conclusion and ends with the last hour of its last day in the customer's country. A",
        "renewal does not start it again. *Working day*: it does not end on a Saturday, a Sunday or a holiday of the table. *Used time*:",
        "paid for if the customer asked to begin within the period. *Digital content*: the right ends with the delivery if the customer",
        "agreed to both before.",
        "",
        "| where | for | right | period | ends on a working day | refund within | used time | digital content | source | checked |",
        "|---|---|---|---|---|---|---|---|---|---|",
        *(_withdraw_row(row) for row in table().withdraw),
        "",
        "### Words for withdrawing",
        "",
        "| where | language | first control | second control | |",
        "|---|---|---|---|---|",
        *(
            f"| {_places(row)} | {label.language} | {label.first} | {label.second} | "
            f"{'prescribed by ' + label.law if label.fixed else 'a translation'} |"
            for row, label in labelled
        ),
        "",
    ]


def _withdraw_row(row: WithdrawRule) -> str:
    said = (
        f"{row.days} days | {'yes' if row.working_day else 'no'} | {row.refund_days} days | "
        f"{'proportionate' if row.services == 'proportionate' else 'not paid for'} | {'ends' if row.digital == 'ends' else 'stays'}"
        if row.applies
        else "| | | |"
    )
    return (
        f"| {_places(row)} | {', '.join(row.parties)} | {'yes' if row.applies else 'no'} | {said} "
        f"| {row.source} | {row.checked}, {CERTAINTY[row.certainty]} |"
    )


def _row(row: CancelRule) -> str:
    yes = {True: "required", False: "not required"}
    return (
        f"| {_places(row)} | {', '.join(row.parties)} | {yes[row.signed_out]} | {yes[row.single_page]} | {row.answer_days} working days "
        f"| {row.source} | {row.checked}, {CERTAINTY[row.certainty]} |"
    )


def _places(row: CancelRule | WithdrawRule | ConsentRule) -> str:
    return ", ".join("every other place" if place == EVERYWHERE else place for place in row.places)


def test_the_document_is_made_from_the_table() -> None:
    if os.environ.get("PORTAL_WRITE_RIGHTS"):
        DOCUMENT.write_text(made(), encoding="utf-8")
    assert DOCUMENT.read_text(encoding="utf-8") == made()


PLACES = ("DE", "FR", "IT", "ES", "NL", "GB", "US-CA", "US-NY", "US-MA", "CA-QC", "IN", "JP")


@pytest.mark.parametrize("place", PLACES)
def test_every_place_that_was_looked_into_has_a_row_of_its_own(place: str) -> None:
    assert cancel_rule(place).places == (place,)


def test_a_place_that_is_not_in_the_table_gets_the_strictest_rule() -> None:
    rule, others = cancel_rule("BR"), [row for row in table().cancel if EVERYWHERE not in row.places]
    assert rule.places == (EVERYWHERE,) == cancel_rule(None).places and "consumer" in rule.parties and "business" in rule.parties
    assert rule.signed_out >= max(row.signed_out for row in others) and rule.single_page >= max(row.single_page for row in others)
    assert rule.answer_days <= min(row.answer_days for row in others)


def test_every_language_of_the_portal_has_labels() -> None:
    for language in supported():
        assert cancel_labels(language)[0].language == language
        assert withdraw_labels(language)[0].language == language


def test_prescribed_labels_are_shown_beside_the_language_of_the_page() -> None:
    assert [label.second for label in cancel_labels("en", "DE")] == ["Cancel now", "jetzt kündigen"]
    assert [label.second for label in cancel_labels("de", "DE")] == ["jetzt kündigen"]
    assert [label.first for label in cancel_labels("sv", "FR")] == ["Säg upp avtal här", "résilier votre contrat"]
    assert len(cancel_labels("en", "US")) == 1


def test_prescribed_words_for_withdrawing_are_shown_beside_the_language_of_the_page() -> None:
    assert [label.second for label in withdraw_labels("en", "DE")] == ["Confirm withdrawal", "Widerruf bestätigen"]
    assert [label.first for label in withdraw_labels("sv", "SE")] == ["Frånträd avtalet här"], "no English beside Swedish in Sweden"
    assert [label.fixed for label in withdraw_labels("pt_BR", "IT")] == [False, True]


@pytest.mark.parametrize(("place", "party", "found", "applies"), [
    ("DE", "consumer", "DE", True), ("SE", "consumer", "EU", True), ("GB", "consumer", "GB", True), ("US-CA", "consumer", "US-CA", False),
    ("US-TX", "consumer", "*", True), ("CA-QC", "consumer", "CA-QC", False), (None, "consumer", "*", True), ("DE", "business", "*", False),
    ("ZZ", "business", "*", False),
])  # fmt: skip
def test_who_may_withdraw(place: str | None, party: str, found: str, applies: bool) -> None:
    row = withdraw_rule(place, party)  # type: ignore[arg-type]
    assert found in row.places
    assert row.applies == applies


@pytest.mark.parametrize(("place", "party", "found"), [
    ("DE", "consumer", "DE"), ("DE", "business", "*"), ("US-CA", "consumer", "US-CA"), ("US-TX", "consumer", "*"), (None, "consumer", "*"),
    ("ZZ", "business", "*"),
])  # fmt: skip
def test_the_most_specific_row_counts(place: str | None, party: str, found: str) -> None:
    assert found in cancel_rule(place, party).places  # type: ignore[arg-type]


def test_the_words_of_statements_are_complete() -> None:
    assert set(WORDS) == set(supported())
    for language, words in WORDS.items():
        assert set(words) == set(WORDS["en"]), language
        assert all(("{day}" in words[name]) == ("{day}" in WORDS["en"][name]) for name in words), language
