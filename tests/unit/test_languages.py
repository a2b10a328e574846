"""Which of our languages somebody reads who asks for others."""

import io

import pypdf
import pytest

from auth.faces import face_of
from billing import policy
from billing.documents import render_invoice, render_refund
from billing.documents.words import WORDS, words
from billing.parties import Business
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


@pytest.mark.parametrize(
    ("wanted", "offered", "found"),
    [
        (["sv", "de-CH"], ["en", "de"], "de"), (["pt-PT", "en"], ["en", "pt_BR"], "pt_BR"), (["sv", "ja"], ["en", "de"], None),
        (["en-GB"], ["de"], None), (["sv"], [], "sv"), (["sv"], ["tlh"], "sv"),  # a list of nothing that we have is none
    ],
)  # fmt: skip
def test_a_business_may_offer_fewer(wanted, offered, found):
    assert best_locale(wanted, offered) == found


def test_what_a_business_writes_in():
    acorn = Business(locale="it", settings={"languages": ["it", "de"]})
    assert [policy.language(acorn, one) for one in ("de", "de-CH", "sv", None, "tlh")] == ["de", "de-CH", "it", "it", "it"]
    assert face_of(acorn).speaks("sv", "de-AT") == "de-AT"
    assert [policy.language(Business(locale="it"), one) for one in ("sv", "tlh", None)] == ["sv", "it", "it"]


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
