"""Invoices and refunds as PDF: printed content, resistance to injected markup, and conformance with PDF/A."""

import io
import re
import unicodedata
from string import Formatter

import pypdf
import pytest

from billing.documents import fonts, render_invoice, render_refund, sha256_of
from billing.documents import typst_process as pressing
from billing.documents.printable_text import _ranges, plain
from billing.documents.view_model import accent, printed, readable
from billing.documents.words import LABELS, labels_for

START, END = "2026-10-26T09:00:00+00:00", "2026-11-26T09:00:00+00:00"
LINE = {"description": "Acorn Team, monthly", "quantity": 1, "unit_minor": 2417, "net_minor": 2417, "tax_minor": 483, "tax_bps": 2000,
        "starts_at": START, "ends_at": END}  # fmt: skip
SELLER = {"name": "Acorn Notes", "legal_name": "Acorn Notes Ltd", "lines": ["8 Shore Place", "Edinburgh EH6 6SW"], "country": "GB",
          "tax_id": "GB 987 6543 21", "email": "billing@acorn.example", "accent": "#5a2e14"}  # fmt: skip
BUYER = {"name": "Ada Marlow", "business_name": "Marlow Studio Ltd", "email": "ada@marlow.example", "lines": ["14 Tanner Street"],
         "country": "GB", "tax_id": "GB 123 4567 89"}  # fmt: skip


def snapshot(**changes):
    return {
        "kind": "invoice", "number": "ACN-2041", "locale": "en", "zone": "Europe/London", "currency": "EUR", "issued_at": START,
        "period": {"starts_at": START, "ends_at": END}, "corrects": None, "credits": None, "seller": SELLER, "buyer": BUYER,
        "lines": [LINE], "subtotal_minor": 2417, "tax": [{"bps": 2000, "net_minor": 2417, "tax_minor": 483}], "total_minor": 2900,
        "credit_applied_minor": 0, "due_minor": 2900, "reason": None, "test_mode": False,
        "paid": {"state": "paid", "at": START, "method": "Visa 4242"},
    } | changes  # fmt: skip


def pages(pdf):
    return [page.extract_text() for page in pypdf.PdfReader(io.BytesIO(pdf)).pages]


def text_of(pdf):
    return re.sub(r"\s+", " ", " ".join(pages(pdf)))


def test_an_invoice_prints_every_required_part():
    text = text_of(render_invoice(snapshot()))
    for part in ("Invoice ACN-2041", "26 October to 25 November 2026", "Acorn Notes Ltd", "GB 987 6543 21",
                 "Marlow Studio Ltd", "GB 123 4567 89",
                 "United Kingdom", "Subtotal €24.17", "Tax 20% on €24.17 €4.83", "Total €29.00", "Page 1 of 1",
                 "€29.00 was paid on 26 October 2026 with Visa ending 4242.", "Questions about this document: billing@acorn.example",
                 "This document can't be edited. A correction is issued separately."):  # fmt: skip
        assert part in text
    assert "Test mode" not in text


def test_the_same_snapshot_gives_the_same_bytes():
    first, again, other = render_invoice(snapshot()), render_invoice(snapshot()), render_invoice(snapshot(number="ACN-2042"))
    assert first == again and sha256_of(first) == sha256_of(again) != sha256_of(other)


def test_an_invoice_is_an_accessible_archive_document():
    pdf = render_invoice(snapshot(locale="de"))
    root = pypdf.PdfReader(io.BytesIO(pdf)).trailer["/Root"]
    metadata = root["/Metadata"].get_object().get_data().decode()
    assert "/StructTreeRoot" in root and root["/MarkInfo"]["/Marked"] and root["/Lang"].startswith("de")
    assert re.search(r"pdfaid:part>3<.*pdfaid:conformance>A<", metadata, re.S) and "pdfuaid:part>1<" in metadata


@pytest.mark.parametrize(
    ("name", "characters"),
    [("株式会社髙橋 山田花子", "株式会社髙橋"), ("شركة المثال", "المثال"), ("Ελένη Παπαδοπούλου", "Ελένη Παπαδοπούλου"),
     ("Łódź Żółw Đặng", "Łódź Żółw Đặng"), ("Наталья", "Наталья"), ("김민수 李明", "김민수"), ("שרה", "שרה"), ("สมชาย", "สมชาย"),
     ("朱镕基", "朱镕基"), ("李珺", "李珺")],
)  # fmt: skip
def test_names_print_in_their_script(name, characters):
    pdf = render_invoice(snapshot(buyer={**BUYER, "business_name": name}))
    assert characters in text_of(pdf) and "\u25a1" not in text_of(pdf) and b"pdfaid" in pdf


@pytest.mark.parametrize(
    ("name", "font"),
    [("தமிழ் செல்வி", "Tamil"), ("শেখ হাসিনা", "Bengali"), ("తెలుగు రామారావు", "Telugu"), ("ગુજરાતી પટેલ", "Gujarati"), ("ಕನ್ನಡ", "Kannada"),
     ("മലയാളം", "Malayalam"), ("ਪੰਜਾਬੀ", "Gurmukhi"), ("සිංහල", "Sinhala"), ("မြန်မာ", "Myanmar"), ("ខ្មែរ", "Khmer"), ("አማርኛ", "Ethiopic"),
     ("朱镕基", "CJKjp"), ("🎉👩‍💻", "Emoji")],
)  # fmt: skip
def test_names_are_drawn_in_the_fonts_of_packages(name, font):
    pdf = render_invoice(snapshot(buyer={**BUYER, "name": name}))
    used = {str(item.get_object()["/BaseFont"]) for page in pypdf.PdfReader(io.BytesIO(pdf)).pages
            for item in page["/Resources"]["/Font"].values()}  # fmt: skip
    assert any(font in item for item in used) and b"pdfaid" in pdf and "[" not in text_of(pdf)


@pytest.mark.parametrize(
    "hostile", ['#eval("1")', "*bold* _it_ $x$", "</style><b>", "`raw` @ref <label>", '#image("/etc/passwd")', r"\u{41} \ // /* -- ~ \"'"]
)
def test_text_from_people_is_never_markup(hostile):
    pdf = render_invoice(
        snapshot(buyer={**BUYER, "name": hostile}, lines=[{**LINE, "description": hostile}], seller={**SELLER, "name": hostile})
    )
    assert text_of(pdf).count(hostile) == 3


def test_control_characters_are_removed_and_unprintable_text_is_transliterated():
    assert plain("a\x00b\r\nc\u202egnp.exe") == "a b cgnp.exe"
    assert plain("🎉 party ⚡\ufe0f") == "🎉 party ⚡"
    assert plain("\ud800x\ue000") == "x[U+E000]" and plain(None) == ""
    assert plain("ᏣᎳᎩ Mankiller") == "[TsaLaGi] Mankiller"
    assert "[TsaLaGi] Mankiller" in text_of(render_invoice(snapshot(buyer={**BUYER, "name": "ᏣᎳᎩ Mankiller"})))


def test_no_character_prints_as_a_box():
    """A combining mark of one script on a character of another."""
    pdf = render_invoice(snapshot(buyer={**BUYER, "name": "Ada \u0ba4\u0591\u09be Marlow", "business_name": "\u0e01\u0591"}))
    assert b"pdfaid" in pdf and "Ada" in text_of(pdf) and "Marlow" in text_of(pdf)


def test_fonts_are_loaded_when_they_are_needed():
    kept = frozenset(map(ord, "Ada Marlow"))
    assert fonts.folders_for("Ada Marlow", kept) == []
    assert [item.rpartition("/")[2] for item in fonts.folders_for("தமிழ்", kept)] == ["manimgx_fonts"]
    assert [item.rpartition("/")[2] for item in fonts.folders_for("தமிழ் 镕", kept)] == list(fonts.PACKAGES)


def test_without_the_packages_names_are_transliterated(monkeypatch):
    monkeypatch.setattr(fonts, "coverage", lambda package: frozenset())
    assert plain("朱镕基 தமிழ்").startswith("朱[Rong]基 [")


def test_every_character_of_our_fonts_prints_in_pdf_a():
    starts, ends = _ranges()
    emails = [chr(code) for first, last in zip(starts, ends) for code in range(first, last + 1)]
    rows = ["".join(emails[place : place + 40]) for place in range(0, len(emails), 40)]
    assert len(emails) > 19_000 and b"pdfaid" in render_invoice(snapshot(buyer={**BUYER, "lines": rows}))


def test_characters_of_the_font_packages_print_in_pdf_a():
    emails = [chr(code) for package in fonts.PACKAGES for code in sorted(fonts.coverage(package))[::9]]
    shown = [message for message in emails if plain(message) == message and unicodedata.category(message)[0] in "LNS"]
    rows = [" ".join(shown[place : place + 40]) for place in range(0, len(shown), 40)]
    assert len(shown) > 5_000 and b"pdfaid" in render_invoice(snapshot(buyer={**BUYER, "lines": rows}))


def test_long_names_and_many_lines_fit():
    long = snapshot(buyer={**BUYER, "name": "W" * 300}, lines=[{**LINE, "description": f"Line {place}"} for place in range(300)])
    got = pages(render_invoice(long))
    assert "Line 299" in "".join(got) and f"Page 2 of {len(got)}" in got[1] and len(got) > 5
    assert all("Qty" in page for page in got[:-1])


def test_a_refund_names_its_invoice_and_reason():
    refund = snapshot(kind="refund", number="ACN-R7", credits="ACN-2041", reason="Charged twice", test_mode=True)
    text = text_of(render_refund(refund))
    for part in (
        "Refund ACN-R7",
        "Refund of invoice ACN-2041",
        "Charged twice",
        "€29.00 was refunded on 26 October 2026 to Visa ending 4242.",
    ):
        assert part in text
    assert "Test mode: no real money" in text
    with pytest.raises(ValueError):
        render_invoice(refund)


def test_german_documents_have_german_text_and_numbers():
    text = text_of(render_invoice(snapshot(locale="de", corrects="ACN-2040", paid={"state": "open", "at": None, "method": None})))
    for part in ("Rechnung ACN-2041", "26. Oktober bis 25. November 2026", "Berichtigt Rechnung ACN-2040", "Gesamt 29,00 €",
                 "29,00 € sind fällig.",
                 "Vereinigtes Königreich", "Unbezahlt", "Seite 1 von 1"):  # fmt: skip
        assert part in text


def test_every_language_has_every_label_with_the_same_placeholders():
    def places(text):
        return sorted(name for _, name, _, _ in Formatter().parse(text) if name)

    for language, entry in LABELS.items():
        assert {key: places(text) for key, text in entry.items()} == {key: places(text) for key, text in LABELS["en"].items()}
        assert entry["language"] == language
    assert labels_for("de-AT") is LABELS["de"] and labels_for("xx") is LABELS["en"]


def test_credit_and_currencies_without_decimals_print():
    data = printed(snapshot(currency="JPY", credit_applied_minor=1000, due_minor=1900, paid={"state": "open", "at": None, "method": None}))
    assert data["totals"][-2:] == [["Credit used", "\u2212¥1,000", "after"], ["Amount due", "¥1,900", "due"]]
    assert data["sentence"] == "¥1,900 is due."
    covered = printed(snapshot(credit_applied_minor=2900, due_minor=0))
    assert covered["sentence"] == "No payment is due: credit covers the full amount."


def test_the_accent_is_a_checked_color_and_readable():
    assert accent("#5A2E14") == "#5a2e14"
    assert accent("red") == accent(None) == accent('#fff"); #eval("1') == "#18211c"
    assert readable("#5a2e14") == "#5a2e14" and readable("#f4d63a") < "#f4d63a"


def test_a_document_that_fails_pdf_a_is_printed_as_pdf(monkeypatch):
    tried = []

    def run(template, data, timestamp, standards):
        tried.append(standards)
        if standards:
            raise pressing._Refused("no glyph")
        return b"%PDF"

    monkeypatch.setattr(pressing, "_run", run)
    assert render_invoice(snapshot()) == b"%PDF" and tried == [["a-3a", "ua-1"], []]


def test_typesetting_that_takes_too_long_is_stopped(monkeypatch):
    monkeypatch.setattr(pressing, "TIMEOUT", 0.001)
    with pytest.raises(pressing.Unprintable, match="not set within"):
        render_invoice(snapshot())
