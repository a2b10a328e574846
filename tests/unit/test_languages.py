"""The available language for a reader's preferred languages."""

import io

import pypdf
import pytest

from billing.documents import render_invoice, render_refund
from billing.documents.words import LABELS, labels_for
from billing.model import policy
from billing.model.business_profile import profile_of
from billing.model.parties import Business
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
def test_the_nearest_language_is_chosen(wanted, found):
    assert best_locale(wanted) == found


@pytest.mark.parametrize(
    ("wanted", "offered", "found"),
    [
        (["sv", "de-CH"], ["en", "de"], "de"), (["pt-PT", "en"], ["en", "pt_BR"], "pt_BR"), (["sv", "ja"], ["en", "de"], None),
        (["en-GB"], ["de"], None), (["sv"], [], "sv"), (["sv"], ["tlh"], "sv"),  # a list without available languages has no match
    ],
)  # fmt: skip
def test_a_business_may_offer_fewer(wanted, offered, found):
    assert best_locale(wanted, offered) == found


def test_emails_of_a_business_use_its_languages():
    acorn = Business(locale="it", settings={"languages": ["it", "de"]})
    assert [policy.language(acorn, item) for item in ("de", "de-CH", "sv", None, "tlh")] == ["de", "de-CH", "it", "it", "it"]
    assert profile_of(acorn).language_for("sv", "de-AT") == "de-AT"
    assert [policy.language(Business(locale="it"), item) for item in ("sv", "tlh", None)] == ["sv", "it", "it"]


def test_every_language_names_itself():
    assert supported() == ("en", "de", "it", "pt_BR", "sv")
    assert [own_name(name) for name in supported()] == ["English", "Deutsch", "Italiano", "Português (Brasil)", "Svenska"]
    assert [html_lang(name) for name in supported()] == ["en", "de", "it", "pt-BR", "sv"]


def test_documents_follow_the_language():
    assert labels_for("pt-PT") is labels_for("pt") is labels_for("pt_BR") is LABELS["pt_BR"] and labels_for("sv-FI") is LABELS["sv"]
    assert labels_for("it_CH") is LABELS["it"] and labels_for("fr") is LABELS["en"]


@pytest.mark.parametrize(
    ("locale", "tag", "invoice", "refund"),
    [
        ("it", "it", "29,00 € pagati il giorno 26 ottobre 2026 con Visa che termina con 4242.", "Nota di credito ACN-R7"),
        ("pt-BR", "pt-BR", "€ 29,00 pagos em 26 de outubro de 2026 com Visa com final 4242.", "Reembolso ACN-R7"),
        ("sv", "sv", "29,00 € betalades den 26 oktober 2026 med Visa som slutar på 4242.", "Kreditfaktura ACN-R7"),
    ],
)
def test_documents_declare_their_language(locale, tag, invoice, refund):
    pdf = render_invoice(snapshot(locale=locale))
    assert invoice in text_of(pdf).replace("\xa0", " ")
    assert pypdf.PdfReader(io.BytesIO(pdf)).trailer["/Root"]["/Lang"] == tag
    assert refund in text_of(render_refund(snapshot(locale=locale, kind="refund", number="ACN-R7", credits="ACN-2041")))
