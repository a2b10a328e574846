"""The businesses of the demo with their brand and products. Amounts are in minor units."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Item:
    """A product. `every`: Month or Year, None for a one-time product. `keys`: activations per license key, None for none."""

    key: str
    name: str
    price: int
    every: str | None = None
    trial: int = 0
    keys: int | None = None
    category: str = "digital_products"
    description: str = ""


@dataclass(frozen=True)
class DemoBusiness:
    key: str
    name: str
    currency: str
    zone: str
    legal: str
    address: dict[str, str]
    tax_id: str
    accent: str
    radius: int
    font: str
    rates: dict[str, int]
    items: tuple[Item, ...]
    plans: tuple[str, ...] = ()  # products of the collection that plans can be changed in
    settings: dict[str, Any] = field(default_factory=dict)
    inclusive: bool = False
    locale: str = "en"
    prefix: str | None = None

    @property
    def email(self) -> str:
        return f"help@{self.key}.example"


def _at(street: str, city: str, zipcode: str, country: str) -> dict[str, str]:
    return {"street": street, "city": city, "zipcode": zipcode, "country": country}


FREE = {"plan_change": True, "pause": True}

BUSINESSES = (
    DemoBusiness(
        "acorn",
        "Acorn Notes",
        "GBP",
        "Europe/London",
        "Acorn Notes Ltd",
        _at("1 Oak Lane", "Bristol", "BS1 1AA", "GB"),
        "GB123456782",
        "#5a2e14",
        2,
        "serif",
        {"GB": 2000, "*": 0},
        (
            Item("solo", "Acorn Solo", 900, "Month", category="saas", description="Notes for one person."),
            Item("team", "Acorn Team", 4500, "Month", category="saas", description="Shared notebooks for up to ten people."),
            Item("max", "Acorn Max", 8900, "Month", category="saas", description="Team, with unlimited history and your own domain."),
            Item("year", "Acorn Solo, yearly", 9000, "Year", category="saas"),
        ),
        ("solo", "team", "max", "year"),
        FREE
        | {
            "refund_policy": {
                "is_on": True,
                "kinds": ["first_payment", "renewal"],
                "amount": "prorated",
                "days": 30,
                "takes_requests": True,
            }
        },
    ),
    DemoBusiness(
        "birch",
        "Birch Hosting",
        "EUR",
        "Europe/Berlin",
        "Birch Hosting GmbH",
        _at("Birkenweg 8", "Berlin", "10115", "DE"),
        "DE136695976",
        "#f4d63a",
        4,
        "geometric",
        {"DE": 1900, "GB": 2000, "BR": 0, "*": 0},
        (
            Item("small", "Birch Small", 1200, "Month", category="saas", description="One site, 10 GB."),
            Item("medium", "Birch Medium", 2900, "Month", category="saas", description="Five sites, 50 GB."),
            Item("large", "Birch Large", 5900, "Month", category="saas", description="Twenty sites, 250 GB."),
            Item("backups", "Nightly backups", 400, "Month", category="saas"),
        ),
        ("small", "medium", "large"),
        {"plan_change": True, "refund_policy": {"is_on": True, "days": 30, "kinds": ["renewal"], "amount": "prorated"}},
    ),
    DemoBusiness(
        "harbour",
        "Harbour Radio",
        "USD",
        "America/New_York",
        "Harbour Radio Inc.",
        _at("12 Pier Road", "Portland", "04101", "US"),
        "91-1144442",
        "#0b5563",
        12,
        "rounded",
        {"*": 0},
        (
            Item("member", "Harbour Member", 700, "Month", description="Every program, no announcements."),
            Item("patron", "Harbour Patron", 7000, "Year", description="Member, and a chair at the open rehearsal."),
            Item("concerts", "Concert archive", 2400, description="Forty evenings to keep."),
        ),
    ),
    DemoBusiness(
        "kiln",
        "Kiln Type",
        "USD",
        "America/Los_Angeles",
        "Kiln Type Foundry LLC",
        _at("440 Alder Street", "Oakland", "94607", "US"),
        "94-2404110",
        "#b3261e",
        2,
        "slab",
        {"*": 0},
        (
            Item("grotesk", "Kiln Grotesk, desktop", 18000, keys=3, description="Nine weights for three computers."),
            Item("serif", "Kiln Serif, web", 24000, keys=2, description="Two domains."),
            Item("mono", "Kiln Mono", 9500, keys=3),
        ),
        settings={"refund_policy": {"is_on": True, "days": 60, "takes_requests": True}},
    ),
    DemoBusiness(
        "mizu",
        "Mizu Lessons",
        "JPY",
        "Asia/Tokyo",
        "Mizu Lessons KK",
        _at("2-4-1 Marunouchi", "Tokyo", "100-0005", "JP"),
        "T8010401050783",
        "#3a5fcd",
        12,
        "humanist",
        {"JP": 1000, "*": 0},
        (
            Item("four", "Four lessons a month", 7800, "Month", trial=14, category="edtech"),
            Item("workbook", "Kanji workbook", 2400, category="e_book"),
        ),
    ),
    DemoBusiness(
        "tidewater",
        "Tidewater Gym",
        "SEK",
        "Europe/Stockholm",
        "Tidewater Träning AB",
        _at("Strandvägen 3", "Göteborg", "411 04", "SE"),
        "SE556703748501",
        "#0f7b6c",
        4,
        "system",
        {"SE": 2500, "*": 2500},
        (
            Item("offpeak", "Off-peak", 29900, "Month", description="Weekdays from 10 to 16."),
            Item("all", "All hours", 44900, "Month"),
            Item("pool", "Sea pool", 12900, "Month", description="Salt water, 24 degrees."),
        ),
        ("offpeak", "all"),
        FREE,
        inclusive=True,
    ),
    DemoBusiness(
        "sabia",
        "Sabiá Café",
        "BRL",
        "America/Sao_Paulo",
        "Sabiá Café Ltda.",
        _at("Rua das Laranjeiras 210", "Rio de Janeiro", "22240-003", "BR"),
        "11.222.333/0001-81",
        "#7a4b00",
        12,
        "rounded",
        {"*": 0},
        (
            Item("club", "Clube do café", 8990, "Month", description="Half a kilo of beans, roasted on the day."),
            Item("grinder", "Hand grinder course", 21900, category="edtech"),
        ),
        prefix="SAB",
    ),
    DemoBusiness(
        "orbit",
        "Orbit Tools",
        "EUR",
        "Europe/Vienna",
        "Orbit Tools OG",
        _at("Ringgasse 5", "Wien", "1010", "AT"),
        "ATU13585627",
        "#3d3d4e",
        2,
        "system",
        {"AT": 2000, "*": 0},
        (Item("sync", "Orbit Sync", 500, "Month", category="saas"), Item("desk", "Orbit Desk", 3900, keys=2)),
    ),
    DemoBusiness(
        "zephyr",
        "Zephyr Deals",
        "USD",
        "UTC",
        "Zephyr Deals LLC",
        _at("1 Harbour Street", "Dover", "19901", "US"),
        "51-0000018",
        "#8a2be2",
        12,
        "system",
        {"*": 0},
        (Item("deal", "Deal of the day", 9900, "Month"),),
    ),
)
