"""Which of our languages somebody reads who asks for others."""

import io

import pypdf
import pytest

from billing.documents import render_invoice, render_refund
from billing.documents.words import WORDS, words
from core.i18n import best_locale, html_lang, own_name, supported
from tests.unit.test_documents import snapshot, text_of


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (["it-CH", "fr"], "it"), (["sv-FI"], "sv"), (["de_AT"], "de"), (["pt-BR"], "pt_BR"), (["pt_BR"], "pt_BR"), (["PT-br"], "pt_BR"),
        (["pt"], "pt_BR"), (["pt-PT", "en"], "pt_BR"), (["fr", "sv"], "sv"), (["en-GB", "de"], "en"), (["ja", "zh-Hant-TW"], None),
        (["", None, "x" * 36, "../../etc/passwd"], None), ([], None),
    ],
)  # fmt: skip
def test_the_nearest_language(wanted, found):
    assert best_locale(wanted) == found


def test_every_language_names_itself():
    assert supported() == ("en", "de", "it", "pt_BR", "sv")
    assert [own_name(name) for name in supported()] == ["English", "Deutsch", "Italiano", "Português (Brasil)", "Svenska"]
    assert [html_lang(name) for name in supported()] == ["en", "de", "it", "pt-BR", "sv"]


def test_documents_follow_the_language():
    assert words("pt-PT") is words("pt") is words("pt_BR") is WORDS["pt_BR"] and words("sv-FI") is WORDS["sv"]
    assert words("it_CH") is WORDS["it"] and words("fr") is WORDS["en"]


@pytest.mark.parametrize(
    ("locale", "tag", "invoice", "refund"),
    [
        ("it", "it", "29,00 € pagati il giorno 26 ottobre 2026 con Visa che termina con 4242.", "Nota di credito ACN-R7"),
        ("pt-BR", "pt-BR", "€ 29,00 pagos em 26 de outubro de 2026 com Visa com final 4242.", "Reembolso ACN-R7"),
        ("sv", "sv", "29,00 € betalades den 26 oktober 2026 med Visa som slutar på 4242.", "Kreditfaktura ACN-R7"),
    ],
)
def test_documents_speak_and_say_which_language(locale, tag, invoice, refund):
    pdf = render_invoice(snapshot(locale=locale))
    assert invoice in text_of(pdf).replace("\xa0", " ")
    assert pypdf.PdfReader(io.BytesIO(pdf)).trailer["/Root"]["/Lang"] == tag
    assert refund in text_of(render_refund(snapshot(locale=locale, kind="refund", number="ACN-R7", credits="ACN-2041")))
