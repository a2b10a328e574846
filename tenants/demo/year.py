"""The scenes of the demo year: Ada buys from every business, Ben, Cleo and Noor from some. Times are days before today."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import partial

from tenants.demo.actions import Person, Scene, World
from tenants.demo.businesses import BUSINESSES

VISA, MASTERCARD, AMEX = "4242424242424242", "5555555555554444", "378282246310005"
DECLINED_AT_RENEWAL, INSUFFICIENT_FUNDS = "4000000000000341", "4000000000009995"

ADA = Person("ada@marlow.example", "Ada Marlow", {"street": "14 Tanner Street", "city": "London", "zipcode": "SE1 3LD", "country": "GB"})
BEN = Person("ben@hill.example", "Ben Hill", {"street": "Lindenallee 9", "city": "Leipzig", "zipcode": "04109", "country": "DE"})
CLEO = Person(
    "cleo@duarte.example", "Cleo Duarte", {"street": "Rua Augusta 77", "city": "São Paulo", "zipcode": "01305-000", "country": "BR"}
)
NOOR = Person("noor@haddad.example", "Noor Haddad", {"street": "3-1 Sakuragaoka", "city": "Tokyo", "zipcode": "150-0031", "country": "JP"})
PEOPLE = (ADA, BEN, CLEO, NOOR)


def scenes(w: World) -> Iterator[Scene]:
    for business in BUSINESSES:
        yield 366, partial(w.open_business, business)
    yield from adas_year(w)
    yield from the_others(w)
    yield 80, partial(w.close_business, "orbit")


def adas_year(w: World) -> Iterator[Scene]:
    visa, mastercard, amex = ADA.card(VISA), ADA.card(MASTERCARD, "03/30"), ADA.card(AMEX, "11/29")
    yield 361, partial(w.subscribe, "birch", ADA, "birch.medium", visa)  # renews in a few days
    yield 150, partial(w.subscribe, "backups", ADA, "birch.backups")
    yield 352, partial(w.subscribe, "patron", ADA, "harbour.patron", mastercard)  # ending
    yield 12, partial(w.cancel, "patron", ADA, "harbour", "unused")
    yield 204, partial(w.buy, "concerts", ADA, "harbour.concerts")
    yield 198, partial(w.refund, "concerts", "harbour", 600, "Ten evenings were missing")  # in part
    yield 338, partial(w.subscribe, "solo", ADA, "acorn.solo", visa)  # past
    yield 70, partial(w.cancel, "solo", ADA, "acorn", "missing_features")
    yield 34, partial(w.subscribe, "team", ADA, "acorn.team", ADA.card(DECLINED_AT_RENEWAL, "05/30"))  # on hold
    yield 288, partial(w.buy, "grotesk", ADA, "kiln.grotesk", amex)
    yield 287, partial(w.activate, "grotesk", "kiln", "Studio iMac", "Laptop")
    yield 131, partial(w.buy, "serif", ADA, "kiln.serif")
    yield 130, partial(w.activate, "serif", "kiln", "marlow.example")
    yield 47, partial(w.buy, "mono", ADA, "kiln.mono")
    yield 44, partial(w.refund, "mono", "kiln", None, "Bought twice")  # in full
    yield 247, partial(w.buy, "no", ADA, "mizu.workbook", ADA.card(INSUFFICIENT_FUNDS))  # declined
    yield 246, partial(w.buy, "workbook", ADA, "mizu.workbook", mastercard)
    yield 6, partial(w.subscribe, "lessons", ADA, "mizu.four", visa)  # in trial
    yield 299, partial(w.subscribe, "gym", ADA, "tidewater.offpeak", ADA.card(VISA, soon(w.today)))  # card expiring
    yield 262, partial(w.subscribe, "pool", ADA, "tidewater.pool")
    yield 25, partial(w.pause, "pool", ADA, "tidewater")
    yield 273, partial(w.subscribe, "club", ADA, "sabia.club", mastercard)
    yield 96, partial(w.buy, "grinder", ADA, "sabia.grinder")
    yield 88, partial(w.refund, "grinder", "sabia", 6000, "One evening was cancelled")
    yield 320, partial(w.subscribe, "sync", ADA, "orbit.sync", visa)
    yield 160, partial(w.cancel, "sync", ADA, "orbit", "too_expensive")
    yield 319, partial(w.buy, "desk", ADA, "orbit.desk")
    yield 5, partial(w.accept_businesses, ADA, "mizu")  # Mizu, her latest purchase, is not accepted yet
    yield 3, partial(w.customer, ADA, "zephyr")  # waits for approval: Ada never bought anything there


def the_others(w: World) -> Iterator[Scene]:
    yield 344, partial(w.subscribe, "ben.birch", BEN, "birch.small", BEN.card(VISA))
    yield 210, partial(w.buy, "ben.grotesk", BEN, "kiln.grotesk", BEN.card(MASTERCARD))
    yield 209, partial(w.activate, "ben.grotesk", "kiln", "Ben's desk")
    yield 118, partial(w.subscribe, "ben.gym", BEN, "tidewater.all", BEN.card(VISA))
    yield 330, partial(w.subscribe, "cleo.club", CLEO, "sabia.club", CLEO.card(MASTERCARD))
    yield 190, partial(w.subscribe, "cleo.radio", CLEO, "harbour.member", CLEO.card(VISA))
    yield 60, partial(w.cancel, "cleo.radio", CLEO, "harbour", "other")
    yield 305, partial(w.subscribe, "noor.year", NOOR, "acorn.year", NOOR.card(VISA))
    yield 225, partial(w.subscribe, "noor.lessons", NOOR, "mizu.four", NOOR.card(MASTERCARD))


def soon(today: datetime) -> str:
    """Return a card expiry within the next 60 days, as MM/YY."""
    return (today + timedelta(days=28)).strftime("%m/%y")
