"""Amounts read back from a real PDF equal the charged ones and add up as printed."""

from __future__ import annotations

import io
import re
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import pypdf
import pytest
from hypothesis import HealthCheck, given, settings

from billing.documents import notes_of, render_invoice, render_refund
from billing.documents.view_model import printed
from billing.pricing.credit_lines import less_credit, parts_of
from billing.pricing.prices import line, total
from billing.pricing.taxes import Treatment
from core.formatting import money
from core.money import exponent
from tests.unit.random_carts import carts, held, lines_of_cart, paper_of

NUMBER = re.compile(r"[^0-9.,\u2212]")


def text_of(pdf: bytes) -> str:
    return re.sub(r"\s+", " ", " ".join(page.extract_text() for page in pypdf.PdfReader(io.BytesIO(pdf)).pages))


def number(text: str) -> Decimal:
    """Parse an English number: comma groups, decimal point, U+2212 for minus."""
    return Decimal(NUMBER.sub("", text).replace(",", "").replace("\u2212", "-"))


def read_back(paper: dict[str, Any], currency: str) -> tuple[list[tuple[Decimal, Decimal, Decimal]], dict[str, Decimal]]:
    """Return ([(quantity, unit price, amount)], totals by label) from the strings of the document, all of which the PDF contains."""
    data, text = printed(paper), text_of(render_invoice(paper))
    for row in data["lines"]:
        assert re.sub(r"\s+", " ", f"{row['quantity']} {row['unit_price']}") in text and re.sub(r"\s", " ", row["amount"]) in text
    for label, amount, _ in data["totals"]:
        assert re.sub(r"\s+", " ", f"{label} {amount}") in text
    lines = [(number(row["quantity"]), number(row["unit_price"].replace(currency, "")), number(row["amount"])) for row in data["lines"]]
    return lines, {label: number(amount) for label, amount, _ in data["totals"]}


@settings(max_examples=24, deadline=None, suppress_health_check=list(HealthCheck))
@given(carts)
def test_the_figures_of_the_pdf_read_back(cart: tuple[str, list[tuple[int, int, int, bool]], list[dict[str, Any]]]) -> None:
    currency, rows, codes = cart
    lines = lines_of_cart(rows, codes)
    cent = Decimal(1).scaleb(-exponent(currency))
    shown, totals = read_back(paper_of(lines, currency), currency)
    listed = [Decimal(item["list_minor"]) * cent for item in paper_of(lines, currency)["lines"]]
    for (quantity, each, amount), item, before in zip(shown, lines, listed, strict=True):
        assert (quantity, amount) == (item.quantity, item.net_minor * cent)
        assert (quantity * each).quantize(cent, ROUND_HALF_UP) == before
    taxes = sum(amount for label, amount in totals.items() if label.startswith("Tax "))
    assert totals["Subtotal"] == sum(amount for _, _, amount in shown)
    assert totals["Subtotal"] + taxes == totals["Total"] == total(lines) * cent


def test_tax_inclusive_invoices_multiply_out() -> None:
    shown, totals = read_back(paper_of(lines_of_cart([(3, 1190, 1900, True)], []), "EUR"), "EUR")
    assert shown == [(3, Decimal("10.00"), Decimal("30.00"))]
    assert (totals["Total"], totals["Tax 19% on €30.00"]) == (Decimal("35.70"), Decimal("5.70"))
    paper = paper_of(lines_of_cart([(3, 999, 1900, True)], []), "EUR")
    assert "3 €8.39496 19% €25.18" in text_of(render_invoice(paper)) and "shown here before tax" in text_of(render_invoice(paper))


def test_a_discount_is_printed_at_its_line() -> None:
    text = text_of(render_invoice(paper_of(lines_of_cart([(3, 1000, 2000, False)], [held("WELCOME", "percentage", 2000)]), "EUR")))
    assert "€30.00 less €6.00 discount" in text and "3 €10.00 20% €24.00" in text


@pytest.mark.parametrize("locale", ["en", "de", "it", "pt_BR", "sv"])
def test_credit_lines_are_printed_with_their_tax(locale: str) -> None:
    bill = less_credit([line("Max", 1, 5900, 2000, False)], unused=456, unused_parts=parts_of([line("Team", 1, 2417, 2000, False)]),
                       name="Team")  # fmt: skip
    paper = paper_of(bill.lines, "EUR", locale=locale)
    text = text_of(render_invoice(paper))
    for minor in (5900, -380, 5520, 1104, 6624):
        assert re.sub(r"\s", " ", money(minor, "EUR", locale)) in text
    row = printed(paper)["lines"][1]
    assert (row["quantity"], row["unit_price"], row["amount"]) == ("\u22121", money(380, "EUR", locale), money(-380, "EUR", locale))
    assert "Team" in printed(paper)["lines"][1]["description"] and printed(paper)["lines"][1]["description"] != "Team"


@pytest.mark.parametrize(
    ("treatment", "note"),
    [
        (Treatment("AE", 0, "VATEX-EU-AE"), "Reverse charge"),
        (Treatment("K", 0, "VATEX-EU-IC"), "Intra-Community supply"),
        (Treatment("G", 0, "VATEX-EU-G"), "Export outside the EU"),
        (Treatment("E", 0, "VATEX-EU-132-1I"), "Exempt from tax: Article 132 of Directive 2006/112/EC"),
        (Treatment("E", 0, "Small business, § 19 UStG"), "Exempt from tax: Small business, § 19 UStG"),
        (Treatment("Z"), "Zero-rated"),
        (Treatment("O", 0, "Outside the scope of VAT"), "Not subject to tax: Outside the scope of VAT"),
    ],
)
def test_untaxed_lines_print_the_reason(treatment: Treatment, note: str) -> None:
    paper = paper_of([line("Team", 1, 5900, treatment, False)], "EUR")
    text = text_of(render_invoice(paper))
    assert note in text and note in notes_of(paper)[0] and "Total €59.00" in text
    assert "Reverse charge, tax 0% on €59.00" in text if treatment.code == "AE" else True
    assert not notes_of(paper_of([line("Team", 1, 5900, 2000, False)], "EUR"))


def test_an_old_document_prints_as_it_was_issued() -> None:
    """Snapshots without a version: unit prices as sold, credit below the total, no notes."""
    old = paper_of(lines_of_cart([(3, 1190, 1900, True)], []), "EUR")
    for name in ("version", "inclusive"):
        old.pop(name)
    old |= {"credit_applied_minor": 500, "due_minor": 3070, "tax": [{"bps": 1900, "net_minor": 3000, "tax_minor": 570}]}
    old["lines"] = [
        {
            "description": "Item 0",
            "quantity": 3,
            "unit_minor": 1190,
            "net_minor": 3000,
            "tax_minor": 570,
            "tax_bps": 1900,
            "starts_at": None,
            "ends_at": None,
        }
    ]
    data = printed(old)
    assert (data["lines"][0]["unit_price"], data["lines"][0]["amount"], data["notes"]) == ("€11.90", "€30.00", [])
    assert data["totals"][-2:] == [["Credit used", "\u2212€5.00", "after"], ["Amount due", "€30.70", "due"]]
    refund = {**old, "kind": "refund", "credits": "INV-0001", "reason": None, "credit_applied_minor": 0}
    assert "Refund INV-0001" in text_of(render_refund(refund))
