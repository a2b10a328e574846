"""Converts a snapshot to the strings that a document prints. Amounts are not calculated here."""

from __future__ import annotations

import datetime as dt
import re
from typing import Any
from zoneinfo import ZoneInfo

from billing.documents.printable_text import plain
from billing.documents.words import labels_for
from core import formatting as show

Snapshot = dict[str, Any]
US_PAPER_COUNTRIES = frozenset({"US", "CA", "MX", "CL", "CO", "PH"})
"""Countries that print on US letter paper."""


def instant(text: str) -> dt.datetime:
    """Parse an ISO 8601 timestamp. Without a zone it is UTC, like every stored timestamp."""
    read = dt.datetime.fromisoformat(text)
    return read if read.tzinfo else read.replace(tzinfo=dt.UTC)


def accent(color: str | None) -> str:
    """Return the color as six hex digits, formatted from a number, so that its text never reaches the page. Anything else is ink."""
    found = re.fullmatch(r"#([0-9a-fA-F]{6})", color or "")
    return f"#{int(found[1], 16):06x}" if found else "#18211c"


def readable(color: str) -> str:
    """Darken the accent until text in it has a contrast of 4.5 : 1 on white."""
    parts = [int(color[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    while _luminance(parts) > 1.05 / 4.5 - 0.05:
        parts = [part * 0.95 for part in parts]
    return "#" + "".join(f"{int(part * 255):02x}" for part in parts)


def _luminance(parts: list[float]) -> float:
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


class Figures:
    """Formats the values of one snapshot in its currency, its time zone and the language of its labels."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.labels = labels_for(snapshot.get("locale") or "en")
        self.locale = self.labels["language"]
        self.zone = _zone(snapshot.get("zone"))
        self.currency = str(snapshot["currency"])

    def money(self, minor: int) -> str:
        return show.money(minor, self.currency, self.locale)

    def unit_price(self, line: Snapshot) -> str:
        """Return the unit price: before tax since snapshot version 2, as it was sold before that."""
        value = line.get("unit_net")
        return self.money(line["unit_minor"]) if value is None else show.unit_price(value, self.currency, self.locale)

    def day(self, moment: str, style: str = "document") -> str:
        return show.date_words(instant(moment), self.locale, self.zone, style)

    def span(self, starts_at: str | None, ends_at: str | None) -> str:
        """Return the days covered. `ends_at` is the start of the next period, so the last day is the day before it."""
        if not starts_at or not ends_at:
            return ""
        first = show.local_date(instant(starts_at), self.zone)
        last = max(first, show.local_date(instant(ends_at), self.zone) - dt.timedelta(days=1))
        if first == last:
            return show.date_words(first, self.locale, style="document")
        style = "day" if first.year == last.year else "document"
        return self.labels["span"].format(
            first=show.date_words(first, self.locale, style=style), last=show.date_words(last, self.locale, style="document")
        )

    def country(self, code: str | None) -> str:
        """Return the name of a country, or the code itself if it is unknown."""
        return str(show.locale_of(self.locale).territories.get(code or "") or plain(code))

    def method(self, name: str | None) -> str:
        """Return a method in words: `visa 4242` and `visa 4242, Apple Pay` get the words of the language; others stay."""
        card = re.fullmatch(r"(.+) (\d{4})(, .+)?", plain(name))
        return self.labels["card"].format(brand=card[1], last4=card[2]) + (card[3] or "") if card else plain(name)


def _zone(name: str | None) -> str:
    try:
        return ZoneInfo(name or "UTC").key
    except (ValueError, OSError, LookupError):
        return "UTC"  # an unknown zone must not make an issued document unprintable


def printed(snapshot: Snapshot) -> dict[str, Any]:
    """Return everything the template prints, as strings, lists of strings and flags (JSON-safe)."""
    figures = Figures(snapshot)
    labels, kind = figures.labels, snapshot["kind"]
    seller, color = snapshot["seller"], accent(snapshot["seller"].get("accent"))
    language, _, region = figures.locale.partition("_")
    state, sentence = _paid(snapshot, figures)
    return {
        "lang": language,
        "region": region or None,
        "paper": "us-letter" if seller.get("country") in US_PAPER_COUNTRIES else "a4",
        "accent": color,
        "accent_ink": readable(color),
        "seller_name": plain(seller.get("name") or seller.get("legal_name")),
        "kind": labels[kind],
        "number": plain(snapshot["number"]),
        "state": state,
        "sentence": sentence,
        "is_paid": snapshot["paid"]["state"] == "paid",
        "test": labels["test"] if snapshot.get("test_mode") else "",
        "facts": _facts(snapshot, figures),
        "reason": [labels["reason"], plain(snapshot.get("reason"))] if snapshot.get("reason") else None,
        "parties": [
            # The trading name is printed above the title; this block names the legal person.
            [labels["from"], _party({**seller, "name": "" if seller.get("legal_name") else seller.get("name")}, "legal_name", figures)],
            [labels["to"], _party(snapshot["buyer"], "business_name", figures)],
        ],
        "heads": [labels[head] for head in ("description", "quantity", "unit_price", "rate", "amount")],
        "lines": [_line(line, figures, _span_of(snapshot, figures)) for line in snapshot["lines"]],
        "totals": _totals(snapshot, figures),
        "notes": notes(snapshot, labels),
        "questions": labels["questions"].format(email=plain(seller.get("email"))) if seller.get("email") else "",
        "immutable": labels["immutable"],
        "page": labels["page"],
    }


def _facts(snapshot: Snapshot, figures: Figures) -> list[list[str]]:
    labels = figures.labels
    facts = [
        (labels["issued"], figures.day(snapshot["issued_at"])),
        (labels["period"], _span_of(snapshot, figures)),
        (labels["credits"], plain(snapshot.get("credits"))),
        (labels["corrects"], plain(snapshot.get("corrects"))),
        (labels["currency"], figures.currency),
    ]
    return [[name, value] for name, value in facts if value]


def _party(party: Snapshot, first: str, figures: Figures) -> list[str]:
    """Return the `first` name, the plain name if it differs, address lines, email and tax number. Empty lines are left out."""
    labels = figures.labels
    names = list(dict.fromkeys(filter(None, (plain(party.get(first)), plain(party.get("name"))))))
    address = [plain(line) for line in party.get("lines") or []]
    tax_id = plain(party.get("tax_id"))
    contact = [figures.country(party.get("country")), plain(party.get("email")), labels["tax_id"].format(id=tax_id) if tax_id else ""]
    rows = [*names, *address, *contact]
    return [row for row in rows if row]


def _span_of(snapshot: Snapshot, figures: Figures) -> str:
    period = snapshot.get("period") or {}
    return figures.span(period.get("starts_at"), period.get("ends_at"))


def _line(line: Snapshot, figures: Figures, document_period: str) -> dict[str, str]:
    """Return one row. Its period is printed only if it differs from `document_period`, which is printed at the top."""
    rate, span = line.get("tax_bps"), figures.span(line.get("starts_at"), line.get("ends_at"))
    if line.get("tax_code") == "O":
        rate = None
    listed = line["list_minor"] if "list_minor" in line else line["net_minor"]
    discounted = figures.labels["discounted"].format(price=figures.money(listed), off=figures.money(listed - line["net_minor"]))
    details = ("" if span == document_period else span, discounted if listed != line["net_minor"] else "")
    return {
        "description": _description(line, figures),
        "details": " · ".join(filter(None, details)),
        "quantity": show.count(line["quantity"], figures.locale).replace("-", "\u2212"),
        "unit_price": figures.unit_price(line),
        "rate": "" if rate is None else show.percent(rate, figures.locale, line.get("tax_rate")),
        "amount": figures.money(line["net_minor"]),
    }


def _description(line: Snapshot, figures: Figures) -> str:
    name, kind = plain(line["description"]), line.get("kind", "item")
    return name if kind == "item" else figures.labels["unused" if kind == "unused" else "credit_line"].format(name=name)


def _totals(snapshot: Snapshot, figures: Figures) -> list[list[str]]:
    """Return rows [label, amount, weight]. Weight 'total' has the double rule; 'after' and 'due' are printed below it."""
    labels, total, credit = figures.labels, snapshot["total_minor"], snapshot.get("credit_applied_minor") or 0
    rows = [[labels["subtotal"], figures.money(snapshot["subtotal_minor"]), "part"]]
    for tax in snapshot.get("tax") or []:
        if tax.get("code") == "O":
            continue
        template = labels["tax_AE" if tax.get("code") == "AE" else "tax"]
        label = template.format(rate=show.percent(tax["bps"], figures.locale, tax.get("rate")), net=figures.money(tax["net_minor"]))
        rows.append([label, figures.money(tax["tax_minor"]), "part"])
    rows.append([labels["total"], figures.money(total), "total"])
    if credit:
        forward = "carried_on" if credit > 0 else "carried"
        rows.append([labels[forward if snapshot.get("version") else "credit"], figures.money(-credit), "after"])
        settled = "refunded" if snapshot["kind"] == "refund" else "paid"
        label = labels[{"paid": settled, "open": "due", "void": "void"}[snapshot["paid"]["state"]]]
        rows.append([label, figures.money(total - credit), "due"])
    return rows


def notes(snapshot: Snapshot, labels: dict[str, str]) -> list[str]:
    """Return why lines bear no tax, in the wording of Directive 2006/112/EC art. 226(11), (11a), and how prices are shown."""
    out = []
    for tax in snapshot.get("tax") or []:
        code, reason = tax.get("code"), plain(tax.get("reason"))
        if code in ("AE", "K", "G", "Z") or (code in ("E", "O") and reason):
            article = re.fullmatch(r"VATEX-EU-(\d+[A-Z]?)(?:-.*)?", reason)
            out.append(labels[f"note_{code}"].format(reason=labels["article"].format(number=article[1]) if article else reason))
    if snapshot.get("inclusive"):
        out.append(labels["inclusive"])
    return list(dict.fromkeys(out))


def _paid(snapshot: Snapshot, figures: Figures) -> tuple[str, str]:
    """Return the state in a word, and the sentence below the totals, as of the snapshot."""
    labels, paid = figures.labels, snapshot["paid"]
    prefix = "refund_" if snapshot["kind"] == "refund" else ""
    amount = snapshot["total_minor"] - (snapshot.get("credit_applied_minor") or 0)
    word = labels[(prefix or "state_") + paid["state"]]
    if paid["state"] == "open":
        amount = snapshot.get("due_minor", amount)
    if paid["state"] == "paid" and not amount:
        settled = snapshot.get("credit_applied_minor") or any(line.get("kind", "item") != "item" for line in snapshot["lines"])
        return word, labels["settled"] if settled else ""
    key = f"sentence_{prefix}{paid['state']}"
    if paid["state"] == "paid" and not paid.get("at"):
        return word, ""
    if (paid["state"] == "paid" and not paid.get("method")) or (prefix and paid["state"] == "void" and paid.get("at")):
        key += "_day"
    day = figures.day(paid["at"]) if paid.get("at") else ""
    return word, labels[key].format(amount=figures.money(amount), day=day, method=figures.method(paid.get("method")))
