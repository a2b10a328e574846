"""Published test card numbers with their behavior, and the validation of a submitted card.

A card number exists only in memory during one call. The sandbox stores the brand, the last four digits and the *name* of a
behavior. The number cannot be derived from these.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime

from core.clock import now
from core.errors import Invalid
from gateways.sandbox.declines import N_


@dataclass(frozen=True)
class TestCard:
    """A published test card number. `behaviour` is `ok`, `renewals_fail`, `challenge`, `dispute`, `slow`, `lost`, or a decline code."""

    number: str
    brand: str
    behaviour: str
    does: str

    @property
    def grouped(self) -> str:
        return " ".join(self.number[i : i + 4] for i in range(0, len(self.number), 4))


TEST_CARDS: tuple[TestCard, ...] = (
    TestCard("4242424242424242", "visa", "ok", N_("Succeeds")),
    TestCard("5555555555554444", "mastercard", "ok", N_("Succeeds")),
    TestCard("4576238912771450", "visa", "ok", N_("Succeeds (India)")),
    TestCard("5409162669381034", "mastercard", "ok", N_("Succeeds (India)")),
    TestCard("4000000000000002", "visa", "GENERIC_DECLINE", N_("Declined without a reason")),
    TestCard("4000000000009995", "visa", "INSUFFICIENT_FUNDS", N_("Declined: insufficient funds")),
    TestCard("4706131211212123", "visa", "CARD_DECLINED", N_("Declined (India)")),
    TestCard("5105105105105100", "mastercard", "CARD_DECLINED", N_("Declined (India)")),
    TestCard("4000000000000069", "visa", "EXPIRED_CARD", N_("Declined: expired card")),
    TestCard("4000000000000127", "visa", "INCORRECT_CVC", N_("Declined: wrong security code")),
    TestCard("4000000000000341", "visa", "renewals_fail", N_("Succeeds now, declined at every renewal")),
    TestCard("4000002500003155", "visa", "challenge", N_("Asks for confirmation by the bank (3-D Secure)")),
    TestCard("4000000000000259", "visa", "dispute", N_("Succeeds, then the payment is disputed")),
    TestCard("4000000000000077", "visa", "slow", N_("Stays in progress for a few seconds, then succeeds")),
    TestCard("4000000000006975", "visa", "lost", N_("Succeeds, but the answer is lost")),
)
_BEHAVIOURS = {card.number: card.behaviour for card in TEST_CARDS}
_PREFIXES = (("4", "visa"), ("5[1-5]", "mastercard"), ("2[2-7]", "mastercard"), ("3[47]", "amex"), ("6", "discover"),
             ("35", "jcb"), ("3[068]", "diners"))  # fmt: skip
BRAND_NAMES = {"visa": "Visa", "mastercard": "Mastercard", "amex": "American Express", "discover": "Discover", "jcb": "JCB",
               "diners": "Diners Club", "card": "Card"}  # fmt: skip


@dataclass(frozen=True)
class CheckedCard:
    """A card that passed validation, without its number."""

    brand: str
    last4: str
    expiry_month: int
    expiry_year: int
    behaviour: str
    holder: str | None
    country: str | None


@dataclass(frozen=True)
class CardForm:
    """The submitted card fields. Sensitive fields are excluded from `repr`, so that they never reach a log."""

    number: str = field(repr=False)
    expiry: str = ""
    cvc: str | None = field(default=None, repr=False)
    holder: str = field(default="", repr=False)
    country: str = ""
    postal_code: str = ""


def check(typed: CardForm) -> CheckedCard:
    """Validate a submitted card. `cvc` is None when a program saves the card without a security code.

    Raises Invalid, with `fields` among number, expiry, cvc, name, country, postal_code.
    """
    bad: dict[str, str] = {}
    number = re.sub(r"[\s-]", "", typed.number)
    if not (number.isascii() and number.isdigit() and 12 <= len(number) <= 19 and luhn(number)):
        bad["number"] = N_("This card number is not valid. Check the digits.")
    expiry = parse_expiry(typed.expiry)
    if expiry is None:
        bad["expiry"] = N_("Enter the month and year as on the card, such as 06/32.")
    elif expired(*expiry):
        bad["expiry"] = N_("This card has expired. Use another card.")
    if typed.cvc is not None and not re.fullmatch(r"[0-9]{3,4}", typed.cvc.strip()):
        bad["cvc"] = N_("Enter a security code of three or four digits.")
    holder = typed.holder.strip()
    if not holder:
        bad["name"] = N_("Enter the name on the card.")
    elif holds_number(holder) or len(holder) > 120:
        bad["name"] = N_("This is not a valid name. Enter the name on the card.")
    if typed.country and not re.fullmatch("[A-Z]{2}", typed.country):
        bad["country"] = N_("Choose a country.")
    if holds_number(typed.postal_code) or len(typed.postal_code) > 20:
        bad["postal_code"] = N_("This postal code is not valid.")
    if bad or expiry is None:
        raise Invalid(fields=bad)
    return CheckedCard(brand(number), number[-4:], *expiry, _BEHAVIOURS.get(number, "ok"), holder, typed.country or None)


def verdict(behaviour: str, *, present: bool, month: int, year: int) -> tuple[str, str | None]:
    """Return (state, decline code) of a charge. `present`: the cardholder takes part. `lost`: it succeeds, but the answer is lost."""
    if expired(month, year):
        return "declined", "EXPIRED_CARD"
    if behaviour == "challenge":
        return ("requires_action", None) if present else ("declined", "AUTHENTICATION_REQUIRED")
    if behaviour == "renewals_fail":
        return ("succeeded", None) if present else ("declined", "GENERIC_DECLINE")
    if behaviour == "slow":
        return "processing", None
    if behaviour in ("ok", "dispute", "lost"):
        return ("lost" if behaviour == "lost" else "succeeded"), None
    return "declined", behaviour


def luhn(number: str) -> bool:
    total = 0
    for place, digit in enumerate(reversed(number)):
        doubled = int(digit) * (1 + place % 2)
        total += doubled - 9 if doubled > 9 else doubled
    return total % 10 == 0


def brand(number: str) -> str:
    return next((name for prefix, name in reversed(_PREFIXES) if re.match(prefix, number)), "card")


def label(brand_code: str, last4: str) -> str:
    return f"{BRAND_NAMES.get(brand_code, brand_code)} {last4}"


def parse_expiry(text: str) -> tuple[int, int] | None:
    """Parse `06/32`, `0632`, `06 / 2032` or `2032-06` to (6, 2032). Return None for anything else."""
    text = re.sub(r"\s", "", text)
    if found := re.fullmatch(r"(\d{4})-(\d{2})", text, re.ASCII):
        year, month = int(found[1]), int(found[2])
    elif found := re.fullmatch(r"(\d{1,2})[/.-](\d{2}|\d{4})|(\d{2})(\d{2}|\d{4})", text, re.ASCII):
        month, year = int(found[1] or found[3]), int(found[2] or found[4])
    else:
        return None
    return (month, year + 2000 if year < 100 else year) if 1 <= month <= 12 else None


def expired(month: int, year: int) -> bool:
    """Return whether the month is over in billing time. Moving the billing clock forward also expires cards."""
    today: datetime = now()
    return (year, month) < (today.year, today.month)


def holds_number(text: str) -> bool:
    """Return whether a stored field could contain a card number, that is 12 digits or more."""
    return len(re.sub(r"\D", "", text)) >= 12
