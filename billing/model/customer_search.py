"""Stores the search words of customers, one row each, so that a search is a range of an index and never a scan.

`LIKE` and `lower()` cannot use an index under row-level security (safety 1.4); `>=` and `<` on a folded word can. Listeners on the
Customer rows write the words, so every module that writes a customer also updates its words.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Any

from sqlalchemy import ColumnElement, Index, String, delete, event, insert, inspect, select
from sqlalchemy.engine import Connection
from sqlalchemy.orm import Mapped, mapped_column

from billing.model.email_address import fold_address
from billing.model.parties import Customer
from core.errors import Invalid
from core.models import Base, CustomerOwned, of_customer

MAX_WORD_LENGTH, MAX_WORDS, MAX_QUERY_WORDS = 64, 24, 6
_LAST = "\U0010ffff"


class CustomerWord(Base, CustomerOwned):
    """`word` sorts by code point on both databases, so that a prefix is a range."""

    __tablename__ = "customer_search_words"
    __table_args__ = (of_customer(), Index("ix_customer_search_words_word", "business_id", "word", "customer_id"))

    word: Mapped[str] = mapped_column(String().with_variant(String(collation="C"), "postgresql"))


def folded(text: str) -> list[str]:
    """Return the words of a text in any script, in lower case and without accents: "Zoë O'Neil" → zoe, o, neil."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", text.casefold()) if not unicodedata.combining(c))
    return [word[:MAX_WORD_LENGTH] for word in re.findall(r"[^\W_]+", plain)]


def words_of(customer: Customer) -> list[str]:
    """Return the search words of a customer: id, email address as a whole and in parts, name and company."""
    whole = [customer.customer_id.casefold()[:MAX_WORD_LENGTH], customer.email_key[:MAX_WORD_LENGTH]]
    parts = folded(f"{customer.name} {customer.email} {customer.business_name or ''}")
    return list(dict.fromkeys([*whole, *parts]))[:MAX_WORDS]


def query_words(text: str) -> list[str]:
    """Split a typed query into words. An email address or an id is one word."""
    out: list[str] = []
    for part in text.split():
        out += [_whole(part)[:MAX_WORD_LENGTH]] if "@" in part or part.startswith("cus_") else folded(part)
    return out[:MAX_QUERY_WORDS]


def _whole(part: str) -> str:
    try:
        return fold_address(part)
    except Invalid:  # the beginning of an address, or an id
        return part.casefold()


def matches(business_id: str, text: str) -> list[ColumnElement[bool]]:
    """Return conditions on Customer: each word of the query is a prefix of one of the customer's words."""
    return [
        Customer.customer_id.in_(
            select(CustomerWord.customer_id).where(
                CustomerWord.business_id == business_id, CustomerWord.word >= word, CustomerWord.word < word + _LAST
            )
        )
        for word in query_words(text)
    ]


def _insert_words(connection: Connection, customer: Customer) -> None:
    owner = {"business_id": customer.business_id, "customer_id": customer.customer_id}
    rows = [{**owner, "id": f"{customer.customer_id}:{n}", "word": word} for n, word in enumerate(words_of(customer))]
    connection.execute(insert(CustomerWord), rows)


def _delete_words(connection: Connection, customer: Customer) -> None:
    connection.execute(
        delete(CustomerWord).where(CustomerWord.business_id == customer.business_id, CustomerWord.customer_id == customer.customer_id)
    )


@event.listens_for(Customer, "after_insert")
def _after_insert(_mapper: Any, connection: Connection, customer: Customer) -> None:
    _insert_words(connection, customer)


@event.listens_for(Customer, "after_update")
def _after_update(_mapper: Any, connection: Connection, customer: Customer) -> None:
    if any(inspect(customer).attrs[name].history.has_changes() for name in ("name", "email", "email_key", "business_name")):
        _delete_words(connection, customer)
        _insert_words(connection, customer)


@event.listens_for(Customer, "before_delete")
def _before_delete(_mapper: Any, connection: Connection, customer: Customer) -> None:
    _delete_words(connection, customer)
