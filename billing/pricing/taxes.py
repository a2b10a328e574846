"""Determines the tax code, rate and reason of a sale from seller, buyer and product.

Codes are the VAT category codes of EN 16931 (BT-151, UNCL 5305). Reasons are VATEX codes (BT-121) or the seller's text (BT-120).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import lru_cache
from typing import Any, Protocol

from stdnum.eu import vat
from stdnum.exceptions import ValidationError

from billing.model.regions import region_code
from billing.pricing.default_rates import default_rate
from billing.pricing.tax_setup import oss_registration, own_rate, registration, setup_of, tax_day
from billing.pricing.terms import Seller

CODES = {
    "S": "standard or reduced rate",
    "Z": "zero rated",
    "E": "exempt",
    "AE": "reverse charge",
    "K": "intra-Community supply",
    "G": "export outside the EU",
    "O": "not subject to tax",
}
REASONS = {"AE": "VATEX-EU-AE", "K": "VATEX-EU-IC", "G": "VATEX-EU-G", "O": "VATEX-EU-O"}
"""The reason that a code implies. E needs an explicit reason (BR-E-10); S and Z have none (BR-S-10, BR-Z-10)."""
EU = frozenset(code.upper() for code in vat.MEMBER_STATES) - {"EL", "XI"} | {"GR"}


DOMESTIC, LOCAL, OSS, ORIGIN = "domestic", "local", "oss", "origin"
REVERSE_CHARGE, EXEMPT, OUTSIDE, OWN_RATE, UNTAXED, NO_RATE = "reverse_charge", "exempt", "outside", "own_rate", "untaxed", "no_rate"
CALCULATED, ESTIMATED, PENDING = "calculated", "estimated", "pending"
CASES = (DOMESTIC, LOCAL, OSS, ORIGIN, REVERSE_CHARGE, EXEMPT, OUTSIDE, OWN_RATE, UNTAXED, NO_RATE, CALCULATED, ESTIMATED, PENDING)
"""Why a treatment applies. LOCAL: a registration in the buyer's country or region. ORIGIN: an EU consumer without OSS, at the seller's own
rate. UNTAXED: no registration and no rate covers the country. NO_RATE: a registration covers it, but no rate is known. CALCULATED: a hosted
calculator decided. ESTIMATED: its latest decision, before the next one. PENDING: it was not asked yet."""
CALCULATED_MARK = "tax_calculated"
"""The key in a subscription's address with the hosted calculator's latest treatment, {code, bps, reason, rate}. Pages show it ahead of
the next charge, which has its own calculation."""


@dataclass(frozen=True)
class Treatment:
    """A tax treatment. `bps` is in basis points, 1900 = 19 %. Only code S has a rate above 0 (BR-S-05, BR-Z-05 and similar).

    `case`: why it applies (CASES). `exact`: the percentage of a calculated rate that basis points cannot express, such as "8.875".
    """

    code: str
    bps: int = 0
    reason: str | None = None
    case: str | None = field(default=None, compare=False)
    exact: str | None = field(default=None, compare=False)


NOT_TAXED = Treatment("O")


@dataclass(frozen=True)
class Sale:
    """The facts that decide the tax of a sale. `on`: the day of the tax point (ISO 8601). `tax_id`: None if it is known to be invalid."""

    country: str | None
    region: str | None
    tax_id: str | None
    category: str | None
    on: str


class TaxCalculator(Protocol):
    """Calculates tax on pages and inside transactions, without calling another server. Hosted calculators: billing/pricing/tax_port.py."""

    def determine(self, seller: Seller, sale: Sale) -> Treatment: ...


class RateTable:
    """Determines treatments from the set-up of the business (tax_setup.py) and the table of default rates (default_rates.py)."""

    def determine(self, seller: Seller, sale: Sale) -> Treatment:
        setup = setup_of(seller)
        found = self._taxed(seller, setup, sale)
        exempt = (setup.get("exempt") or {}).get(sale.category or "")
        if exempt and (found.bps or found.code == "AE"):
            return Treatment("E", 0, str(exempt), EXEMPT)
        return found

    def _taxed(self, seller: Seller, setup: Mapping[str, Any], sale: Sale) -> Treatment:
        oss = oss_registration(setup, sale.on)
        if is_reverse_charge(seller.tax_country, seller.tax_id, sale.country, sale.tax_id) or (
            oss and _is_business_abroad(seller.tax_country, sale)
        ):
            return Treatment("AE", 0, REASONS["AE"], REVERSE_CHARGE)
        country = sale.country or ""
        own = own_rate(setup, country, sale.region, sale.category, sale.on)
        if own is not None:
            return replace(parse(own, "Z"), case=OWN_RATE)
        return self._registered(seller, setup, sale, oss) or self._uncovered(seller, setup, sale)

    def _registered(self, seller: Seller, setup: Mapping[str, Any], sale: Sale, oss: Mapping[str, Any] | None) -> Treatment | None:
        """Return the treatment by a registration, None if no registration covers the sale. A buyer without a country is domestic."""
        home = seller.tax_country
        country = sale.country or home
        if registration(setup, country, sale.region, sale.on):
            return self._at_rate_of(setup, country, sale, DOMESTIC if country == home else LOCAL)
        if oss and country in EU:
            return self._at_rate_of(setup, country, sale, OSS)
        if country in EU and home in EU and registration(setup, home, None, sale.on):
            return self._at_rate_of(setup, home, sale, ORIGIN)
        return None

    def _uncovered(self, seller: Seller, setup: Mapping[str, Any], sale: Sale) -> Treatment:
        """Return the treatment of a country without a registration: the rate of `*`, or none."""
        rest = own_rate(setup, "*", None, sale.category, sale.on)
        if rest is not None:
            return replace(parse(rest), case=OWN_RATE)
        if setup.get("registrations") and seller.tax_country in EU and sale.country and sale.country not in EU:
            return Treatment("O", 0, REASONS["O"], OUTSIDE)
        return replace(NOT_TAXED, case=UNTAXED)

    def _at_rate_of(self, setup: Mapping[str, Any], country: str | None, sale: Sale, case: str) -> Treatment:
        """Return the business's own rate of a country, or else the rate of the table."""
        own = own_rate(setup, country or "", sale.region, sale.category, sale.on)
        if own is not None:
            return replace(parse(own, "Z"), case=case)
        default = default_rate(country, sale.category, sale.on)
        if default is None:
            return replace(NOT_TAXED, case=NO_RATE)
        return Treatment("S" if default.bps else "Z", default.bps, None, case)


CALCULATOR: TaxCalculator = RateTable()


def calculated(address: Mapping[str, Any]) -> Treatment:
    """Return the latest treatment by a hosted calculator, not taxed (PENDING) before its first answer."""
    mark = address.get(CALCULATED_MARK)
    if not mark:
        return replace(NOT_TAXED, case=PENDING)
    return Treatment(mark["code"], int(mark["bps"]), mark["reason"], ESTIMATED, mark.get("rate"))


def treatment(
    business: Seller,
    country: str | None,
    tax_id: str | None = None,
    category: str | None = None,
    *,
    region: str | None = None,
    at: datetime | None = None,
) -> Treatment:
    """Return the tax treatment of a product of `category` sold to `country`, to the holder of `tax_id` if given.

    `at`: the tax point, None for now. Between two businesses with VAT IDs of different EU states, the buyer accounts for the tax of a
    service: reverse charge (Directive 2006/112/EC, art. 44 and 196). Other sales follow the registrations and rates of the business.
    """
    sale = Sale(country or None, region_code(country, region), tax_id, category, tax_day(business, at))
    return CALCULATOR.determine(business, sale)


def _is_business_abroad(home: str | None, sale: Sale) -> bool:
    """Return whether an EU business buys from a seller established outside the EU, which is also a reverse charge (art. 196)."""
    return bool(home and home not in EU and sale.tax_id and sale.country in EU and is_vat_id(sale.tax_id, str(sale.country)))


def parse(entry: Any, zero: str = "O") -> Treatment:
    """Parse a rate: basis points, or {bps, code, reason}.

    `zero` is the code of a rate of 0 without a code. Raises ValueError for a code or a combination that EN 16931 does not have.
    """
    data: Mapping[str, Any] = entry if isinstance(entry, Mapping) else {"bps": entry or 0}
    bps = int(data.get("bps") or 0)
    code = str(data.get("code") or ("S" if bps else zero))
    reason = data.get("reason") or REASONS.get(code if "code" in data else "")
    if code not in CODES or not 0 <= bps <= 10_000 or (bps > 0) != (code == "S"):
        raise ValueError(f"there is no tax treatment {code} at {bps} basis points")
    if (code == "E" and not reason) or (code in "SZ" and reason):
        raise ValueError("an exempt rate needs a reason, and a taxed rate must not have one")
    return Treatment(code, bps, str(reason) if reason else None)


def is_reverse_charge(seller: str | None, seller_id: str | None, buyer: str | None, buyer_id: str | None) -> bool:
    """Return whether seller and buyer are in two different EU states, each with a VAT ID of its own state."""
    if not (seller_id and buyer_id) or seller == buyer or seller not in EU or buyer not in EU:
        return False
    return bool(seller and buyer) and is_vat_id(seller_id, str(seller)) and is_vat_id(buyer_id, str(buyer))


def full_vat_id(tax_id: str | None, country: str | None) -> str | None:
    """Return an EU VAT ID with its prefix, None if it is not one of this country."""
    if not tax_id or country not in EU or not is_vat_id(tax_id, str(country)):
        return None
    prefix = "EL" if country == "GR" else str(country)
    compact = "".join(char for char in tax_id.upper() if char.isalnum())
    return compact if compact.startswith(prefix) and is_vat_id(compact.removeprefix(prefix), str(country)) else prefix + compact


@lru_cache(maxsize=4096)
def is_vat_id(number: str, country: str) -> bool:
    """Return whether this is a well-formed VAT ID of the state, with or without its prefix (Greece: EL)."""
    prefix = "EL" if country == "GR" else country
    for text in (number, prefix + number):
        try:
            if vat.validate(text).startswith(prefix):
                return True
        except ValidationError:
            continue
    return False
