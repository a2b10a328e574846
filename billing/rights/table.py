"""Reads table.toml. `cancel_rule("DE", "consumer")` returns the row that counts for a place and a kind of customer."""

from __future__ import annotations

import datetime as dt
import functools
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from billing.model.customer_types import CustomerType

EVERYWHERE = "*"
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
class Table:
    groups: Mapping[str, frozenset[str]]
    cancel: tuple[CancelRule, ...]


@functools.cache
def table() -> Table:
    """Return the table of the file. Raises KeyError or TypeError for a row with a missing or unknown field."""
    read = tomllib.loads(_FILE.read_text(encoding="utf-8"))
    groups = {name: frozenset(members) for name, members in read["groups"].items()}
    return Table(groups, tuple(_cancel_rule(row) for row in read["cancel"]))


def cancel_rule(place: str | None, party: CustomerType = "consumer") -> CancelRule:
    """Return the rule for customers in `place` (DE, US-CA). A place without a row of its own gets the rule for everywhere."""
    rows = table().cancel
    for wanted in _from_specific_to_general(place):
        for row in rows:
            if wanted in row.places and party in row.parties:
                return row
    raise LookupError(f"no rule for {place}, {party}")


def cancel_labels(language: str, country: str | None = None) -> list[Labels]:
    """Return the labels to show on a page in `language`, at most two.

    The first is in the page's language: the words that a law prescribes in that language, otherwise a translation. The second has the
    words that the law of `country` prescribes, if these are in another language.
    """
    own = _fixed(language) or cancel_rule(None).labels.get(language) or cancel_rule(None).labels["en"]
    prescribed = [item for item in cancel_rule(country).labels.values() if item.fixed and item.language != own.language]
    return [own, *prescribed[:1]]


def _fixed(language: str) -> Labels | None:
    """Return the words that a law prescribes in this language, or None."""
    return next((row.labels[language] for row in table().cancel if language in row.labels and row.labels[language].fixed), None)


def _from_specific_to_general(place: str | None) -> list[str]:
    if not place:
        return [EVERYWHERE]
    country = place.split("-")[0]
    groups = [name for name, members in table().groups.items() if country in members]
    return list(dict.fromkeys([place, country, *groups, EVERYWHERE]))


def _cancel_rule(row: dict[str, Any]) -> CancelRule:
    labels = {language: Labels(language, **words) for language, words in row.pop("labels", {}).items()}
    places, parties = tuple(row.pop("places")), tuple(row.pop("parties"))
    return CancelRule(places=places, parties=parties, labels=labels, **row)
