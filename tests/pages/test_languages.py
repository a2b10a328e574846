"""Pages, emails and the language menu in every language."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from core import i18n
from tests.cast import Cast
from tests.visitor import Visitor

pytestmark = pytest.mark.one_engine  # what people see and type; other tests run these statements on both

FIRST = {"de": "Abonnements", "it": "Abbonamenti", "pt_BR": "Assinaturas", "sv": "Prenumerationer"}
EMAIL = {"de": "Ihr Anmelde-Link", "it": "Il tuo link di accesso", "pt_BR": "Seu link de entrada", "sv": "Din inloggningslänk"}
LANGUAGES = sorted(FIRST)


def test_every_language_is_tested() -> None:
    assert ("en", *LANGUAGES) == i18n.supported()


def lang(who: Visitor, path: str) -> str:
    return who.get(path).soup.html["lang"]  # type: ignore[union-attr]


@pytest.mark.parametrize("language", LANGUAGES)
def test_pages_and_emails_use_the_browsers_language(visitor: Callable[..., Visitor], cast: Cast, language: str) -> None:
    somebody, tag = visitor(), i18n.html_lang(language)
    somebody.headers["Accept-Language"] = f"{tag};q=0.9, en;q=0.5"
    assert lang(somebody, "/login") == tag
    somebody.sign_in(cast.BEN)
    assert EMAIL[language] in somebody.emails(cast.BEN)[-1].subject
    page = somebody.get("/subscriptions")
    assert page.h1 == FIRST[language] and page.soup.html["lang"] == tag  # type: ignore[union-attr]
    chooser = page.soup.find("form", {"action": "/language"}) or page.soup  # type: ignore[union-attr]
    assert {button.get("value") for button in chooser.find_all("button", {"name": "lang"})} >= set(i18n.supported()) - {language}


def test_the_language_of_the_profile_applies_in_every_browser(visitor: Callable[..., Visitor], cast: Cast) -> None:
    ada = visitor()
    ada.sign_in(cast.ADA)
    ada.post("/language", {"lang": "it"})
    assert lang(ada, "/profile") == "it"
    ada.submit("/profile", language="pt_BR")
    ada.client.delete_cookie(i18n.COOKIE)  # as another browser has none
    assert lang(ada, "/profile") == lang(ada, f"/business/{cast.acorn}/") == "pt-BR"
    ada.post("/language", {"lang": "it"})
    ada.get("/profile")
    ada.submit("/profile", language="sv")
    assert lang(ada, "/profile") == "sv", "the later choice is the one in the profile"
    ada.submit("/profile", language="")
    assert lang(ada, "/") == "en", "this browser asks for nothing else"


def test_the_language_of_a_customer_record_applies_at_its_business_only(visitor: Callable[..., Visitor], cast: Cast) -> None:
    ada = visitor()
    ada.sign_in(cast.ADA)
    ada.get(f"/business/{cast.acorn}/profile")
    ada.submit("/profile", language="sv")
    assert lang(ada, f"/business/{cast.acorn}/") == "sv" and lang(ada, "/") == lang(ada, f"/business/{cast.birch}/") == "en"
