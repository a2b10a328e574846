"""Reads table.toml. `cancel_rule("DE", "consumer")` returns the row that counts for a place and a kind of customer."""

from __future__ import annotations

import datetime as dt
import functools
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

from billing.model.customer_types import CustomerType

EVERYWHERE = "*"
Occasion = Literal["trial_end", "renewal", "price_change", "card_expiring"]
Term = Literal["month", "over_month", "half_year", "year"]
OCCASIONS: tuple[Occasion, ...] = get_args(Occasion)
TERMS: tuple[Term, ...] = get_args(Term)
_FILE = Path(__file__).with_name("table.toml")


@dataclass(frozen=True)
class Labels:
    """The words of the link to a page (`first`) and of the button that sends the statement (`second`), in one language.

    `fixed`: the law prescribes them. `law` names it.
    """

    language: str
    first: str
    second: str
    fixed: bool = False
    law: str = ""


@dataclass(frozen=True)
class CancelRule:
    """The rule for cancelling a subscription. `answer_days`: working days within which staff answer what cannot be matched."""

    places: tuple[str, ...]
    parties: tuple[str, ...]
    source: str
    checked: dt.date
    certainty: str
    signed_out: bool
    single_page: bool
    answer_days: int
    labels: Mapping[str, Labels]


@dataclass(frozen=True)
class WithdrawRule:
    """The rule for withdrawing from a contract. The fields are explained in table.toml."""

    places: tuple[str, ...]
    parties: tuple[str, ...]
    source: str
    checked: dt.date
    certainty: str
    applies: bool
    days: int
    refund_days: int
    working_day: bool
    services: str
    digital: str
    labels: Mapping[str, Labels]
    holidays: tuple[str, ...] = ()


@dataclass(frozen=True)
class ConsentRule:
    """How long the proof of a consent is kept, in years: after it was recorded, and after the end of the subscription."""

    places: tuple[str, ...]
    parties: tuple[str, ...]
    source: str
    checked: dt.date
    certainty: str
    keep_years: int
    after_end_years: int


@dataclass(frozen=True)
class NoticeRule:
    """The rule for a notice before money moves. `earliest`, `send` and `latest` are days before; see table.toml for every field."""

    places: tuple[str, ...]
    parties: tuple[str, ...]
    occasion: Occasion
    earliest: int
    send: int
    latest: int
    every: Literal["charge", "year"]
    content: tuple[str, ...]
    demanded: bool
    source: str
    checked: dt.date
    certainty: str
    terms: tuple[Term, ...] = TERMS
    consent: bool = False


Rule = TypeVar("Rule", CancelRule, WithdrawRule, ConsentRule)
Worded = TypeVar("Worded", CancelRule, WithdrawRule)


@dataclass(frozen=True)
class Table:
    groups: Mapping[str, frozenset[str]]
    cancel: tuple[CancelRule, ...]
    withdraw: tuple[WithdrawRule, ...]
    consent: tuple[ConsentRule, ...]
    notice: tuple[NoticeRule, ...]


@functools.cache
def table() -> Table:
    """Return the table of the file. Raises KeyError or TypeError for a row with a missing or unknown field."""
    read = tomllib.loads(_FILE.read_text(encoding="utf-8"))
    groups = {name: frozenset(members) for name, members in read["groups"].items()}
    return Table(
        groups,
        tuple(CancelRule(labels=_labels(row), **_places(row)) for row in read["cancel"]),
        tuple(WithdrawRule(labels=_labels(row), holidays=tuple(row.pop("holidays", ())), **_places(row)) for row in read["withdraw"]),
        tuple(ConsentRule(**_places(row)) for row in read["consent"]),
        tuple(_notice_rule(row) for row in read["notice"]),
    )


def cancel_rule(place: str | None, party: CustomerType = "consumer") -> CancelRule:
    """Return the rule for customers in `place` (DE, US-CA). A place without a row of its own gets the rule for everywhere."""
    return _rule(table().cancel, place, party)


def withdraw_rule(place: str | None, party: CustomerType = "consumer") -> WithdrawRule:
    """As `cancel_rule`."""
    return _rule(table().withdraw, place, party)


def consent_rule(place: str | None = None, party: CustomerType = "consumer") -> ConsentRule:
    """As `cancel_rule`."""
    return _rule(table().consent, place, party)


def notice_rule(place: str | None, party: CustomerType, occasion: Occasion, term: Term) -> NoticeRule:
    """Return the rule for a notice to customers in `place` (DE, US-CA) with periods of this length."""
    rows = [row for row in table().notice if row.occasion == occasion and party in row.parties and term in row.terms]
    for wanted in _from_specific_to_general(place):
        for row in rows:
            if wanted in row.places:
                return row
    raise LookupError(f"no rule for {place}, {party}, {occasion}, {term}")


def cancel_labels(language: str, country: str | None = None) -> list[Labels]:
    """Return the labels to show on a page in `language`, at most two.

    The first is in the page's language: the words that a law prescribes in that language, otherwise a translation. The second has the
    words that the law of `country` prescribes, if these are in another language.
    """
    return _labels_for(table().cancel, language, country)


def withdraw_labels(language: str, country: str | None = None) -> list[Labels]:
    """As `cancel_labels`."""
    return _labels_for(table().withdraw, language, country)


def _rule(rows: Sequence[Rule], place: str | None, party: CustomerType) -> Rule:
    for wanted in _from_specific_to_general(place):
        for row in rows:
            if wanted in row.places and party in row.parties:
                return row
    raise LookupError(f"no rule for {place}, {party}")


def _labels_for(rows: Sequence[Worded], language: str, country: str | None) -> list[Labels]:
    everywhere = _rule(rows, None, "consumer").labels
    fixed = next((row.labels[language] for row in rows if language in row.labels and row.labels[language].fixed), None)
    own = fixed or everywhere.get(language) or everywhere["en"]
    there = list(_rule(rows, country, "consumer").labels.values())
    prescribed: list[Labels] = [item for item in there if item.fixed and item.language != own.language]
    return [own, *prescribed[:1]]


def _from_specific_to_general(place: str | None) -> list[str]:
    if not place:
        return [EVERYWHERE]
    country = place.split("-")[0]
    groups = [name for name, members in table().groups.items() if country in members]
    return list(dict.fromkeys([place, country, *groups, EVERYWHERE]))


def _labels(row: dict[str, Any]) -> dict[str, Labels]:
    return {language: Labels(language, **words) for language, words in row.pop("labels", {}).items()}


def _places(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "places": tuple(row["places"]), "parties": tuple(row["parties"])}


def _notice_rule(row: dict[str, Any]) -> NoticeRule:
    lists: dict[str, Any] = {name: tuple(row.pop(name)) for name in ("places", "parties", "content", "terms") if name in row}
    return NoticeRule(**lists, **row)
