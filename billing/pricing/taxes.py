"""Determines the tax code, rate and reason of a sale from seller, buyer and product.

Codes are the VAT category codes of EN 16931 (BT-151, UNCL 5305). Reasons are VATEX codes (BT-121) or the seller's text (BT-120).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from stdnum.eu import vat
from stdnum.exceptions import ValidationError

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


@dataclass(frozen=True)
class Treatment:
    """A tax treatment. `bps` is in basis points, 1900 = 19 %. Only code S has a rate above 0 (BR-S-05, BR-Z-05 and similar)."""

    code: str
    bps: int = 0
    reason: str | None = None


NOT_TAXED = Treatment("O")


def treatment(business: Seller, country: str | None, tax_id: str | None = None, category: str | None = None) -> Treatment:
    """Return the tax treatment of a product of `category` sold to `country`, to the holder of `tax_id` if given.

    Between two businesses with VAT IDs of different EU states, the buyer accounts for the tax of a service: reverse charge (Directive
    2006/112/EC, art. 44 and 196). Other sales follow the `tax_rates` of the business (see `parse`).
    """
    if is_reverse_charge(business.tax_country, business.tax_id, country, tax_id):
        return Treatment("AE", 0, REASONS["AE"])
    rates: Mapping[str, Any] = business.tax_rates or {}
    named = (country or "") in rates
    entry = rates.get(country or "", rates.get("*"))
    if isinstance(entry, Mapping):
        entry = (entry.get("categories") or {}).get(category or "", entry)
    return parse(entry, "Z" if named else "O")


def parse(entry: Any, zero: str = "O") -> Treatment:
    """Parse a rate of `business.tax_rates`: basis points, or {bps, code, reason}.

    {categories: {tax_category: …}} applies to some products only; `treatment` resolves it. `zero` is the code of a rate of 0 without a
    code. Raises ValueError for a code or a combination that EN 16931 does not have.
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
