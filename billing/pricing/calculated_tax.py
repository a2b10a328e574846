"""Prices with the tax of a hosted calculator: what it is asked, its answer on the lines, and the rate that pages show ahead of a charge.

The calculator is asked once for each document. Within it, lines of the same tax category and kind of price are one item, so that tax is
rounded once. The tax of an item is distributed over its lines; the sums are those of the calculator.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from fractions import Fraction
from typing import Any, Protocol

from billing.pricing.prices import INVALID, PriceLine
from billing.pricing.tax_port import TaxAnswer, TaxedItem, TaxItem, TaxRequest
from billing.pricing.tax_setup import hosted_account
from billing.pricing.taxes import CALCULATED, CALCULATED_MARK
from billing.pricing.terms import Seller
from core import clock
from core.errors import N_, Invalid
from core.money import largest_remainder, round_half_up

FURTHEST = timedelta(days=30)
"""A tax point further away is not sent: Stripe takes days up to 31 days away. The calculator then uses the rates of today."""


class HasAddress(Protocol):
    """A subscription."""

    billing: dict[str, Any]


class CalculationNeeded(Exception):
    """The price depends on a calculation that was not made yet. Nothing was written; ask for it outside of the transaction."""

    def __init__(self, request: TaxRequest) -> None:
        self.request = request
        super().__init__(f"tax of {request.business_id}")


@dataclass(frozen=True)
class Calculated:
    """Lines with their tax. `request` and `answer` are None where the portal's own table applies, or where nothing is charged."""

    lines: list[PriceLine]
    request: TaxRequest | None = None
    answer: TaxAnswer | None = None

    def note_on(self, subscription: HasAddress, *, nothing: bool = False) -> None:
        """Keep the treatment in the subscription's address, see `taxes.CALCULATED_MARK`. `nothing`: its next charge is 0."""
        if self.answer is not None or nothing:
            first = self.answer.items[0] if self.answer else TaxedItem("", 0, "O", 0, "0")
            mark = {"code": first.code, "bps": first.bps, "reason": first.reason, "rate": _exact(first)}
            subscription.billing = {**(subscription.billing or {}), CALCULATED_MARK: mark}


@dataclass
class KnownAnswers:
    """The answers that were fetched for one sale, by the digest of their request."""

    answers: dict[str, TaxAnswer] = field(default_factory=dict)

    def apply(
        self,
        seller: Seller,
        lines: Sequence[PriceLine],
        categories: Sequence[str | None],
        address: Mapping[str, Any],
        *,
        business_id: str,
        currency: str,
        tax_id: str | None,
        at: datetime | None = None,
    ) -> Calculated:
        """Return the lines with their tax. `categories`: the tax category of each. Raises CalculationNeeded, Invalid (billing).

        Where the business uses the portal's own table, the lines have their tax already and are returned unchanged.
        """
        account_id = hosted_account(seller)
        if account_id is None:
            return Calculated(list(lines))
        items, places = _items(lines, categories)
        if not items:
            return Calculated(list(lines))
        number = None if address.get("tax_id_check") == INVALID else tax_id
        if not address.get("country"):
            words = N_("Enter the billing address. It decides the tax.")
            raise Invalid("TAX_NOT_CALCULATED", words, fields={"billing": words})
        near = at is not None and abs(at - clock.wall()) < FURTHEST
        parts = {name: str(address.get(name) or "") for name in ("street", "city", "state", "zipcode", "country")}
        request = TaxRequest(business_id, account_id, currency, tuple(items), **parts, tax_id=number or None, on=at if near else None)
        answer = self.answers.get(request.digest)
        if answer is None:
            raise CalculationNeeded(request)
        return Calculated(_with_tax(lines, places, answer), request, answer)


def _items(lines: Sequence[PriceLine], categories: Sequence[str | None]) -> tuple[list[TaxItem], list[str | None]]:
    """Return the items, and the item's reference of each line; None for a line without an amount, which has no tax."""
    sums: dict[tuple[str | None, bool], int] = {}
    for line, category in zip(lines, categories, strict=True):
        if amount := _amount(line):
            sums[category, line.inclusive] = sums.get((category, line.inclusive), 0) + amount
    names = {key: str(number) for number, key in enumerate(sums, 1)}
    items = [TaxItem(names[key], amount, key[1], key[0]) for key, amount in sums.items()]
    return items, [names[category, line.inclusive] if _amount(line) else None for line, category in zip(lines, categories, strict=True)]


def _amount(line: PriceLine) -> int:
    return line.gross_minor if line.inclusive else line.net_minor


def _with_tax(lines: Sequence[PriceLine], places: Sequence[str | None], answer: TaxAnswer) -> list[PriceLine]:
    taxes: dict[int, tuple[int, TaxedItem]] = {}
    for item in answer.items:
        own = [n for n, place in enumerate(places) if place == item.reference]
        whole = sum(_amount(lines[n]) for n in own)
        shares = largest_remainder([Fraction(item.tax_minor * _amount(lines[n]), whole) for n in own], item.tax_minor)
        taxes |= {n: (share, item) for n, share in zip(own, shares, strict=True)}
    first = answer.items[0]
    return [_taxed(line, *taxes.get(n, (0, first))) for n, line in enumerate(lines)]


def _taxed(line: PriceLine, tax: int, item: TaxedItem) -> PriceLine:
    """Return a line with its tax. Discounts with tax in them (`off`) follow the new tax."""
    before = line.gross_minor
    net = before - tax if line.inclusive else line.net_minor
    off = (
        line.off
        if line.inclusive or not before
        else tuple((label, round_half_up(Fraction(minor * (net + tax), before))) for label, minor in line.off)
    )
    return replace(
        line, net_minor=net, tax_minor=tax, tax_bps=item.bps, tax_code=item.code, tax_reason=item.reason, tax_case=CALCULATED,
        tax_rate=_exact(item), off=off,
    )  # fmt: skip


def _exact(item: TaxedItem) -> str | None:
    """Return the percentage, None if basis points express it."""
    return item.rate if Fraction(item.rate) * 100 != item.bps else None
