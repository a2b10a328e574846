"""Types of the values that a price is calculated from. Rows of tables and rows that pages read both have these attributes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol


class Seller(Protocol):
    """The tax settings of a business."""

    @property
    def tax_setup(self) -> dict[str, Any] | None: ...
    @property
    def tax_rates(self) -> dict[str, Any]: ...
    @property
    def tax_country(self) -> str | None: ...
    @property
    def tax_id(self) -> str | None: ...
    @property
    def zone(self) -> str: ...


class SoldProduct(Protocol):
    @property
    def id(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def tax_category(self) -> str | None: ...


@dataclass(frozen=True, slots=True)
class ProductTerms:
    """The part of a product that its price depends on, for rows that hold it without the product itself."""

    id: str
    name: str
    tax_category: str | None = None


class AgreedPlan(Protocol):
    """A subscription at its agreed price, with its buyer's address and VAT ID."""

    @property
    def quantity(self) -> int: ...
    @property
    def unit_minor(self) -> int: ...
    @property
    def addons(self) -> Sequence[Any]: ...
    @property
    def tax_inclusive(self) -> bool: ...
    @property
    def discounts(self) -> Sequence[Any]: ...
    @property
    def billing(self) -> dict[str, Any]: ...
    @property
    def tax_id(self) -> str | None: ...
    @property
    def period_n(self) -> int: ...
    @property
    def next_billing_at(self) -> datetime | None: ...
    @property
    def created_at(self) -> datetime: ...


class HasCredit(Protocol):
    """A subscription and its credit."""

    @property
    def business_id(self) -> str: ...
    @property
    def id(self) -> str: ...
    @property
    def credit_minor(self) -> int: ...
