"""Names of businesses and customers as shown in emails."""

from __future__ import annotations

import re

from billing.model.parties import Customer


def plain(name: str) -> str:
    """Return the name without characters that make a mail client turn it into a link, at most 60 characters."""
    return " ".join(re.sub(r"[.:/@\\]+", " ", name).split())[:60]


def customer_name(customer: Customer) -> str:
    """Return the customer's name if the person paid or accepted the business, else "": the business writes it (safety 3.2)."""
    return customer.name if customer.is_recognized else ""
