"""The table of rights: every row says where it comes from, every language has labels, and `docs/rights.md` is made from it.

After a change of the table: `PORTAL_WRITE_RIGHTS=1 pytest tests/house/test_rights.py`.
"""

from __future__ import annotations

import os
from itertools import product
from pathlib import Path

import pytest

from billing.documents.statement_words import WORDS
from billing.model.customer_types import TYPES
from billing.rights.table import (
    EVERYWHERE,
    OCCASIONS,
    TERMS,
    CancelRule,
    ConsentRule,
    NoticeRule,
    Occasion,
    WithdrawRule,
    cancel_labels,
    cancel_rule,
    notice_rule,
    table,
    withdraw_labels,
    withdraw_rule,
)
from core.languages import supported

DOCUMENT = Path(__file__).resolve().parents[2] / "docs/rights.md"
CERTAINTY = {"read": "read in the primary text", "summary": "from a summary", "inferred": "inferred", "general": "not verified"}


PERIODS = {"month": "up to a month", "over_month": "over a month", "half_year": "six months", "year": "a year"}
TITLES = {
    "trial_end": "A trial ends",
    "renewal": "A renewal",
    "price_change": "A higher price for existing subscribers",
    "card_expiring": "A card expires",
}


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
        *_notices(),
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


def _notices() -> list[str]:
    """Return the section about notices."""
    text = [
        "## Notices before money moves",
        "",
        "Days are counted before the charge; for a price change before the first charge of the new price, for a card before it",
        "expires. The email is sent on the day *sent*, and counts from *earliest* to *latest*. For a trial that is shorter than that,",
        "it is sent halfway through. *Each year*: once a year, before the last charge within a year of the email before. A period is *up",
        "to a month*, *over a month*, *six months* (or more) or *a year* (or more). The rule follows the billing address of the",
        "subscription, and whether a consumer or a business concluded it.",
        "",
        "Where the law demands a notice, neither the business nor the customer can switch it off. If it was sent late, for instance",
        "because the worker did not run or the date was moved, it is sent at once, and the charge waits until the *latest* number of",
        "days has passed. The subscription stays active meanwhile, and the period keeps its dates: nobody is charged without the notice",
        "that the law demands, and nobody loses access because the portal was late. What customers see is in",
        "[customers](merchants/customers.md).",
    ]
    for occasion, title in TITLES.items():
        text += [
            "",
            f"### {title}",
            "",
            "| where | for | period | how often | earliest | sent | latest | demanded by law | says | source | checked |",
        ]
        text += ["|---|---|---|---|---|---|---|---|---|---|---|"]
        text += [_notice(row) for row in table().notice if row.occasion == occasion]
    return text


def _notice(row: NoticeRule) -> str:
    periods = "every" if set(row.terms) == set(TERMS) else ", ".join(PERIODS[term] for term in row.terms)
    often = "each charge" if row.every == "charge" else "each year"
    demanded = "yes" if row.demanded else "no"
    demanded += ", with consent" if row.consent else ""
    says = ", ".join(item.replace("_", " ") for item in row.content)
    return (
        f"| {_places(row)} | {', '.join(row.parties)} | {periods} | {often} | {row.earliest} | {row.send} | {row.latest} | {demanded} "
        f"| {says} | {row.source} | {row.checked}, {CERTAINTY[row.certainty]} |"
    )


def _row(row: CancelRule) -> str:
    yes = {True: "required", False: "not required"}
    return (
        f"| {_places(row)} | {', '.join(row.parties)} | {yes[row.signed_out]} | {yes[row.single_page]} | {row.answer_days} working days "
        f"| {row.source} | {row.checked}, {CERTAINTY[row.certainty]} |"
    )


def _places(row: CancelRule | WithdrawRule | ConsentRule | NoticeRule) -> str:
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


PLACES = sorted({place for row in table().notice for place in row.places})


@pytest.mark.parametrize("occasion", OCCASIONS)
@pytest.mark.parametrize("place", PLACES)
def test_every_place_has_exactly_one_row_of_its_own_for_each_notice(place: str, occasion: Occasion) -> None:
    assert {"US-CA", "US-NY", "US-MA", "EU", "FR", "DE", "GB", "CA-QC", "IN", "JP", "*"} <= set(PLACES)
    for party, term in product(TYPES if place == "*" else ("consumer",), TERMS):
        rows = [row for row in table().notice if place in row.places and (row.occasion, party in row.parties) == (occasion, True)]
        assert len([row for row in rows if term in row.terms]) == 1, (party, term)


@pytest.mark.parametrize("row", table().notice, ids=lambda row: f"{row.occasion} {','.join(row.places)} {','.join(row.parties)}")
def test_a_notice_is_sent_within_its_window_and_names_its_source(row: NoticeRule) -> None:
    assert row.earliest >= row.send >= row.latest > 0
    assert row.certainty in CERTAINTY and len(row.source) > 20 and row.terms and row.parties
    assert not row.consent or row.occasion == "price_change"


@pytest.mark.parametrize(("place", "party", "occasion", "term", "found"), [
    ("US-CA", "consumer", "renewal", "year", (45, 15, "charge", True)),
    ("US-CA", "consumer", "renewal", "month", (45, 7, "year", True)),
    ("US-CA", "business", "renewal", "year", (14, 7, "charge", False)),
    ("US-CA", "consumer", "price_change", "month", (30, 7, "charge", True)),
    ("US-NY", "consumer", "price_change", "year", (30, 5, "charge", True)),
    ("US-MA", "consumer", "renewal", "over_month", (30, 5, "charge", True)),
    ("FR", "consumer", "renewal", "year", (89, 31, "charge", True)),
    ("FR", "consumer", "renewal", "month", (14, 7, "year", False)),
    ("SE", "consumer", "renewal", "year", (14, 7, "charge", False)),
    ("CA-QC", "consumer", "trial_end", "month", (10, 2, "charge", True)),
    ("IN", "business", "renewal", "month", (8, 1, "charge", True)),
    ("ZZ", "consumer", "renewal", "half_year", (30, 15, "charge", True)),
    (None, "consumer", "renewal", "year", (30, 15, "charge", True)),
])  # fmt: skip
def test_the_rule_of_a_notice(place: str | None, party: str, occasion: str, term: str, found: tuple[int, int, str, bool]) -> None:
    rule = notice_rule(place, party, occasion, term)  # type: ignore[arg-type]
    assert (rule.earliest, rule.latest, rule.every, rule.demanded) == found
