"""Which of our languages somebody reads who asks for others."""

import pytest

from billing.documents.words import WORDS, words
from core.i18n import best_locale, html_lang, own_name, supported


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
