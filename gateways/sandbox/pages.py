"""The sandbox's pages: the hosted card form, the bank's challenge, and the journal. They need no JavaScript.

A page's reference is its key (125 random bits), as with real providers: nobody has to be signed in. A typed number
never goes back into a page, a log or a row.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from flask import Blueprint, g, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from core import i18n
from core.errors import Invalid, NotFound
from core.format import locale_of
from core.security import allow_form_to, token_page
from core.web import Door, enter, house, is_operator
from gateways.sandbox import words
from gateways.sandbox.cards import TEST_CARDS, Typed, holds_number
from gateways.sandbox.gateway import SandboxGateway
from gateways.sandbox.hosted import Page

_NO_COUNTRY = frozenset({"EU", "EZ", "UN", "QO", "ZZ", "XA", "XB", "AC", "CP", "CQ", "DG", "EA", "IC", "TA"})


def make_blueprint(gateway: SandboxGateway) -> Blueprint:
    """`/sandbox/…`. Register it on test deployments only."""
    pages = Blueprint("sandbox", __name__, url_prefix="/sandbox")

    @pages.before_request
    def come_in() -> None:
        enter(Door(kind="auth", title=house().settings.name))

    @pages.get("/")
    def journal() -> ResponseReturnValue:
        if not is_operator():
            raise NotFound()
        lines, older = gateway.journal(request.args.get("before", type=int))
        return render_template("sandbox/journal.html", lines=lines, older=older, words=words)

    @pages.get("/pages/<reference>")
    def page(reference: str) -> ResponseReturnValue:
        found = _secret(gateway.page(reference))
        if found.challenged:
            return redirect(url_for(".challenge", reference=found.challenge), 303)
        return _form(found, _first_values(found)) if found.open else _done(found)

    @pages.post("/pages/<reference>")
    def submit(reference: str) -> ResponseReturnValue:
        _secret(gateway.page(reference))
        typed = Typed(*(request.form.get(name, "") for name in ("number", "expiry", "cvc", "name", "country", "postal_code")))
        try:
            found = gateway.submit_page(reference, typed)
        except Invalid as refused:
            return _form(gateway.page(reference), _kept(typed), refused.fields), 422
        if found.challenged:
            return redirect(url_for(".challenge", reference=found.challenge), 303)
        return (_form(found, _kept(typed)), 422) if found.open else _go_back(found)

    @pages.post("/pages/<reference>/cancel")
    def leave(reference: str) -> ResponseReturnValue:
        _secret(gateway.page(reference))
        return _go_back(gateway.leave_page(reference))

    @pages.get("/challenge/<reference>")
    def challenge(reference: str) -> ResponseReturnValue:
        found = _secret(gateway.challenge(reference))
        if found.open and not found.challenged:
            return redirect(url_for(".page", reference=found.reference), 303)
        if not found.open:
            return _done(found)
        with _speaking(found):
            return render_template("sandbox/challenge.html", page=found)

    @pages.post("/challenge/<reference>")
    def answer(reference: str) -> ResponseReturnValue:
        _secret(gateway.challenge(reference))
        found = gateway.answer_challenge(reference, approved=request.form.get("answer") == "approve")
        return redirect(url_for(".page", reference=found.reference), 303) if found.open else _go_back(found)

    def _go_back(found: Page) -> ResponseReturnValue:
        gateway.deliver_due()
        target = return_address(found)
        return redirect(target, 303) if target else _done(found)

    return pages


def return_address(page: Page) -> str | None:
    """Where the person goes: the caller's address, untouched, with `status` added to its query."""
    paid = page.state in ("succeeded", "processing") or not page.reference
    url = page.return_url if paid else page.cancel_url or page.return_url
    if not url:
        return None
    address, mark, fragment = url.partition("#")
    joint = "" if address.endswith(("?", "&")) else "&" if "?" in address else "?"
    return f"{address}{joint}status={page.status}{mark}{fragment}"


def countries(locale: str) -> list[tuple[str, str]]:
    """(ISO code, name) in the reader's language, by name."""
    known = locale_of(locale).territories
    return sorted(((code, name) for code, name in known.items() if len(code) == 2 and code.isalpha() and code not in _NO_COUNTRY),
                  key=lambda pair: pair[1])  # fmt: skip


def _secret(page: Page) -> Page:
    """Nothing of this page is kept or referred from; its forms may end at the caller's address."""
    token_page()
    for url in (page.return_url, page.cancel_url):
        if url:
            parts = urlsplit(url)
            allow_form_to(f"{parts.scheme}://{parts.netloc}")
    return page


def _form(page: Page, values: dict[str, str], errors: dict[str, str] | None = None) -> str:
    with _speaking(page):
        return render_template(
            "sandbox/page.html", page=page, values=values, errors={name: _(sentence) for name, sentence in (errors or {}).items()},
            countries=[("", _("Not said")), *countries(i18n.locale())], cards=TEST_CARDS, words=words,
        )  # fmt: skip


def _done(page: Page) -> str:
    with _speaking(page):
        return render_template("sandbox/done.html", page=page, back=return_address(page), words=words)


def _first_values(page: Page) -> dict[str, str]:
    return {"name": page.prefill or "", "country": locale_of(page.locale).territory or ""}


def _kept(typed: Typed) -> dict[str, str]:
    """What a second try starts with: never the number, never the code, nor a number typed into another field."""
    values = {"name": typed.holder, "expiry": typed.expiry, "country": typed.country, "postal_code": typed.postal_code}
    return {name: "" if holds_number(value) else value for name, value in values.items()}


@contextmanager
def _speaking(page: Page) -> Iterator[None]:
    """In the language the caller asked for, unless the visitor chose one."""
    if request.cookies.get(i18n.COOKIE):
        yield
        return
    with i18n.speaking(page.locale):
        g.pop("words", None)
        try:
            yield
        finally:
            g.pop("words", None)
