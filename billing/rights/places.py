"""Where a customer lives, as the table of rights names places: DE, US-CA, CA-QC."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from billing.model.regions import region_code


def place_of(address: Mapping[str, Any] | None) -> str | None:
    """Return the place of a postal address: the country (ISO 3166-1), with the region (ISO 3166-2) in the United States and Canada.

    None if the country is not known: the table then gives the rule for everywhere, which is the strictest.
    """
    country = str((address or {}).get("country") or "").upper()
    if not country:
        return None
    region = region_code(country, str((address or {}).get("state") or ""))
    return f"{country}-{region}" if region else country
