"""Words a customer is found by: folded, one row each, so that a search is a range of an index and never a scan.

`LIKE` and `lower()` lose their index under row-level security (safety 1.4); `>=` and `<` on a folded word do not. The words
follow the customer by themselves: whoever writes the row, in whichever room, writes its words with it.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Any

from sqlalchemy import ColumnElement, Index, String, delete, event, insert, inspect, select
from sqlalchemy.engine import Connection
from sqlalchemy.orm import Mapped, mapped_column

from billing.addresses import fold_address
from billing.parties import Customer
from core.errors import Invalid
from core.models import Base, CustomerOwned, of_customer

LONGEST, MOST, ASKED = 64, 24, 6
_LAST = "\U0010ffff"


class CustomerWord(Base, CustomerOwned):
    """`word` sorts by code point on both engines: a prefix is a range."""

    __tablename__ = "customer_words"
    __table_args__ = (of_customer(), Index("ix_customer_words_word", "business_id", "word", "customer_id"))

    word: Mapped[str] = mapped_column(String().with_variant(String(collation="C"), "postgresql"))


def folded(text: str) -> list[str]:
    """Letters and figures of any script, in small letters and without accents: "Zoë O'Neil" → zoe, o, neil."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", text.casefold()) if not unicodedata.combining(c))
    return [word[:LONGEST] for word in re.findall(r"[^\W_]+", plain)]


def words_of(customer: Customer) -> list[str]:
    """Its id, its address whole and in parts, its name and its company's."""
    whole = [customer.customer_id.casefold()[:LONGEST], customer.email_key[:LONGEST]]
    parts = folded(f"{customer.name} {customer.email} {customer.business_name or ''}")
    return list(dict.fromkeys([*whole, *parts]))[:MOST]


def asked(text: str) -> list[str]:
    """What somebody typed, as words: an address or an id stays whole."""
    out: list[str] = []
    for part in text.split():
        out += [_whole(part)[:LONGEST]] if "@" in part or part.startswith("cus_") else folded(part)
    return out[:ASKED]


def _whole(part: str) -> str:
    try:
        return fold_address(part)
    except Invalid:  # the beginning of one, or an id
        return part.casefold()


def matches(business_id: str, text: str) -> list[ColumnElement[bool]]:
    """Conditions on Customer: each typed word begins one of its words."""
    return [
        Customer.customer_id.in_(select(CustomerWord.customer_id).where(
            CustomerWord.business_id == business_id, CustomerWord.word >= word, CustomerWord.word < word + _LAST))
        for word in asked(text)
    ]


def _write(connection: Connection, customer: Customer) -> None:
    owner = {"business_id": customer.business_id, "customer_id": customer.customer_id}
    rows = [{**owner, "id": f"{customer.customer_id}:{n}", "word": word} for n, word in enumerate(words_of(customer))]
    connection.execute(insert(CustomerWord), rows)


def _forget(connection: Connection, customer: Customer) -> None:
    connection.execute(delete(CustomerWord).where(
        CustomerWord.business_id == customer.business_id, CustomerWord.customer_id == customer.customer_id))


@event.listens_for(Customer, "after_insert")
def _came(_mapper: Any, connection: Connection, customer: Customer) -> None:
    _write(connection, customer)


@event.listens_for(Customer, "after_update")
def _changed(_mapper: Any, connection: Connection, customer: Customer) -> None:
    if any(inspect(customer).attrs[name].history.has_changes() for name in ("name", "email", "email_key", "business_name")):
        _forget(connection, customer)
        _write(connection, customer)


@event.listens_for(Customer, "before_delete")
def _went(_mapper: Any, connection: Connection, customer: Customer) -> None:
    _forget(connection, customer)
