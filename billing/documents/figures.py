"""A snapshot turned into the strings a document prints. Nothing is calculated here beyond what a label needs."""

from __future__ import annotations

import datetime as dt
import re
from typing import Any
from zoneinfo import ZoneInfo

from billing.documents.plain import plain
from billing.documents.words import words
from core import format as show

Snapshot = dict[str, Any]
_LETTER_PAPER = frozenset({"US", "CA", "MX", "CL", "CO", "PH"})


def instant(text: str) -> dt.datetime:
    """An ISO 8601 timestamp; one without a zone is UTC, as everything stored is."""
    read = dt.datetime.fromisoformat(text)
    return read if read.tzinfo else read.replace(tzinfo=dt.UTC)


def accent(colour: str | None) -> str:
    """Six hex digits, written from numbers; anything else is ink. A colour from data never reaches the page as text."""
    found = re.fullmatch(r"#([0-9a-fA-F]{6})", colour or "")
    return f"#{int(found[1], 16):06x}" if found else "#18211c"


def readable(colour: str) -> str:
    """The accent darkened until words in it reach 4.5 : 1 on white."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    while _luminance(parts) > 1.05 / 4.5 - 0.05:
        parts = [part * 0.95 for part in parts]
    return "#" + "".join(f"{int(part * 255):02x}" for part in parts)


def _luminance(parts: list[float]) -> float:
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


class Figures:
    """Formatters of one snapshot: its currency, its language (that of the words found), its zone."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.words = words(snapshot.get("locale") or "en")
        self.locale = self.words["language"]
        self.zone = _zone(snapshot.get("zone"))
        self.currency = str(snapshot["currency"])

    def money(self, minor: int) -> str:
        return show.money(minor, self.currency, self.locale)

    def each(self, line: Snapshot) -> str:
        """The price of one; before version 2 as it was sold, since then before tax."""
        value = line.get("unit_net")
        return self.money(line["unit_minor"]) if value is None else show.unit_price(value, self.currency, self.locale)

    def day(self, moment: str, style: str = "document") -> str:
        return show.date_words(instant(moment), self.locale, self.zone, style)

    def span(self, starts_at: str | None, ends_at: str | None) -> str:
        """Days covered. The end is the instant the next period starts, so the last day is the one before."""
        if not starts_at or not ends_at:
            return ""
        first = show.local_date(instant(starts_at), self.zone)
        last = max(first, show.local_date(instant(ends_at), self.zone) - dt.timedelta(days=1))
        if first == last:
            return show.date_words(first, self.locale, style="document")
        style = "day" if first.year == last.year else "document"
        return self.words["span"].format(
            first=show.date_words(first, self.locale, style=style), last=show.date_words(last, self.locale, style="document")
        )

    def country(self, code: str | None) -> str:
        """A country's name; a code nobody knows stands as it is."""
        return str(show.locale_of(self.locale).territories.get(code or "") or plain(code))

    def method(self, name: str | None) -> str:
        card = re.fullmatch(r"(.+) (\d{4})", plain(name))
        return self.words["card"].format(brand=card[1], last4=card[2]) if card else plain(name)


def _zone(name: str | None) -> str:
    try:
        return ZoneInfo(name or "UTC").key
    except (ValueError, OSError, LookupError):
        return "UTC"  # an unknown zone must not make an issued document unprintable


def printed(snapshot: Snapshot) -> dict[str, Any]:
    """Everything the template prints, as strings, lists of strings and flags (JSON-safe)."""
    figures = Figures(snapshot)
    say, kind = figures.words, snapshot["kind"]
    seller, colour = snapshot["seller"], accent(snapshot["seller"].get("accent"))
    language, _, region = figures.locale.partition("_")
    state, sentence = _paid(snapshot, figures)
    return {
        "lang": language, "region": region or None, "paper": "us-letter" if seller.get("country") in _LETTER_PAPER else "a4",
        "accent": colour, "accent_ink": readable(colour), "seller_name": plain(seller.get("name") or seller.get("legal_name")),
        "kind": say[kind], "number": plain(snapshot["number"]), "state": state, "said": sentence,
        "good": snapshot["paid"]["state"] == "paid", "test": say["test"] if snapshot.get("test_mode") else "",
        "facts": _facts(snapshot, figures), "reason": [say["reason"], plain(snapshot.get("reason"))] if snapshot.get("reason") else None,
        "parties": [
            # The trading name stands above the title already; the statement names who is liable.
            [say["from"], _party({**seller, "name": "" if seller.get("legal_name") else seller.get("name")}, "legal_name", figures)],
            [say["to"], _party(snapshot["buyer"], "business_name", figures)],
        ],
        "heads": [say[head] for head in ("what", "quantity", "each", "rate", "amount")],
        "lines": [_line(line, figures, _span_of(snapshot, figures)) for line in snapshot["lines"]],
        "totals": _totals(snapshot, figures), "notes": notes(snapshot, figures.words),
        "questions": say["questions"].format(email=plain(seller.get("email"))) if seller.get("email") else "",
        "fixed": say["fixed"], "page": say["page"],
    }


def _facts(snapshot: Snapshot, figures: Figures) -> list[list[str]]:
    say = figures.words
    facts = [
        (say["issued"], figures.day(snapshot["issued_at"])),
        (say["period"], _span_of(snapshot, figures)),
        (say["credits"], plain(snapshot.get("credits"))),
        (say["corrects"], plain(snapshot.get("corrects"))),
        (say["currency"], figures.currency),
    ]
    return [[name, value] for name, value in facts if value]


def _party(party: Snapshot, first: str, figures: Figures) -> list[str]:
    """The `first` name, the plain name when it differs, address lines, e-mail, tax number; empty ones are left out."""
    say = figures.words
    names = list(dict.fromkeys(filter(None, (plain(party.get(first)), plain(party.get("name"))))))
    address = [plain(line) for line in party.get("lines") or []]
    tax_id = plain(party.get("tax_id"))
    reach = [figures.country(party.get("country")), plain(party.get("email")), say["tax_id"].format(id=tax_id) if tax_id else ""]
    rows = [*names, *address, *reach]
    return [row for row in rows if row]


def _span_of(snapshot: Snapshot, figures: Figures) -> str:
    period = snapshot.get("period") or {}
    return figures.span(period.get("starts_at"), period.get("ends_at"))


def _line(line: Snapshot, figures: Figures, usual: str) -> dict[str, str]:
    """One row. Its time is said only when it is not the `usual` one at the head of the document."""
    rate, span = line.get("tax_bps"), figures.span(line.get("starts_at"), line.get("ends_at"))
    if line.get("tax_code") == "O":
        rate = None
    listed = line["list_minor"] if "list_minor" in line else line["net_minor"]
    less = figures.words["less"].format(price=figures.money(listed), off=figures.money(listed - line["net_minor"]))
    said = ("" if span == usual else span, less if listed != line["net_minor"] else "")
    return {
        "what": _what(line, figures), "when": " · ".join(filter(None, said)),
        "quantity": show.count(line["quantity"], figures.locale).replace("-", "\u2212"), "each": figures.each(line),
        "rate": "" if rate is None else show.percent(rate, figures.locale), "amount": figures.money(line["net_minor"]),
    }


def _what(line: Snapshot, figures: Figures) -> str:
    name, kind = plain(line["description"]), line.get("kind", "item")
    return name if kind == "item" else figures.words["unused" if kind == "unused" else "credit_line"].format(name=name)


def _totals(snapshot: Snapshot, figures: Figures) -> list[list[str]]:
    """Rows [label, amount, weight]; weight 'total' has the double rule, 'after' and 'due' stand below it."""
    say, total, credit = figures.words, snapshot["total_minor"], snapshot.get("credit_applied_minor") or 0
    rows = [[say["subtotal"], figures.money(snapshot["subtotal_minor"]), "part"]]
    for tax in snapshot.get("tax") or []:
        if tax.get("code") == "O":
            continue
        words_for = say["tax_AE" if tax.get("code") == "AE" else "tax"]
        label = words_for.format(rate=show.percent(tax["bps"], figures.locale), net=figures.money(tax["net_minor"]))
        rows.append([label, figures.money(tax["tax_minor"]), "part"])
    rows.append([say["total"], figures.money(total), "total"])
    if credit:
        forward = "carried_on" if credit > 0 else "carried"
        rows.append([say[forward if snapshot.get("version") else "credit"], figures.money(-credit), "after"])
        settled = "refunded" if snapshot["kind"] == "refund" else "paid"
        label = say[{"paid": settled, "open": "due", "void": "void"}[snapshot["paid"]["state"]]]
        rows.append([label, figures.money(total - credit), "due"])
    return rows


def notes(snapshot: Snapshot, say: dict[str, str]) -> list[str]:
    """Why a line bears no tax, in the words the law asks for (Directive 2006/112/EC art. 226(11), (11a)); and how prices are shown."""
    out = []
    for tax in snapshot.get("tax") or []:
        code, reason = tax.get("code"), plain(tax.get("reason"))
        if code in ("AE", "K", "G", "Z") or (code in ("E", "O") and reason):
            article = re.fullmatch(r"VATEX-EU-(\d+[A-Z]?)(?:-.*)?", reason)
            out.append(say[f"note_{code}"].format(reason=say["article"].format(number=article[1]) if article else reason))
    if snapshot.get("inclusive"):
        out.append(say["inclusive"])
    return list(dict.fromkeys(out))


def _paid(snapshot: Snapshot, figures: Figures) -> tuple[str, str]:
    """The state in a word and the sentence below the totals, as they were when the snapshot was taken."""
    say, paid = figures.words, snapshot["paid"]
    prefix = "refund_" if snapshot["kind"] == "refund" else ""
    amount = snapshot["total_minor"] - (snapshot.get("credit_applied_minor") or 0)
    word = say[(prefix or "state_") + paid["state"]]
    if paid["state"] == "open":
        amount = snapshot.get("due_minor", amount)
    if paid["state"] == "paid" and not amount:
        settled = snapshot.get("credit_applied_minor") or any(line.get("kind", "item") != "item" for line in snapshot["lines"])
        return word, say["settled"] if settled else ""
    key = f"said_{prefix}{paid['state']}"
    if paid["state"] == "paid" and not paid.get("at"):
        return word, ""
    if paid["state"] == "paid" and not paid.get("method"):
        key += "_day"
    day = figures.day(paid["at"]) if paid.get("at") else ""
    return word, say[key].format(amount=figures.money(amount), day=day, method=figures.method(paid.get("method")))
