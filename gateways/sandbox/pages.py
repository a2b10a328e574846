"""The sandbox's pages: the hosted card form, the bank's challenge, the page of a payment, and the journal. They need no JavaScript.

The reference in the address (125 random bits) gives access, as with real providers; nobody signs in. A submitted card number
is never written to a page, a log or a row.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from flask import Blueprint, g, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from billing.charging.processor_reports import DISPUTE_REASONS
from core import i18n
from core.amount_input import read_amount, write_amount
from core.errors import N_, Invalid, NotFound
from core.formatting import locale_of
from core.operator_access import is_operator
from core.request_context import Door, enter, services
from core.security import allow_form_to, token_page
from core.template_context import formatter
from gateways.sandbox import labels, returns
from gateways.sandbox.cards import TEST_CARDS, CardForm, holds_number
from gateways.sandbox.gateway import SandboxGateway
from gateways.sandbox.hosted import HostedSession

_NO_COUNTRY = frozenset({"EU", "EZ", "UN", "QO", "ZZ", "XA", "XB", "AC", "CP", "CQ", "DG", "EA", "IC", "TA"})


def make_blueprint(gateway: SandboxGateway) -> Blueprint:
    """Return the blueprint of `/sandbox/…`. Register it in test deployments only."""
    pages = Blueprint("sandbox", __name__, url_prefix="/sandbox")

    pages.before_request(enter_page)

    @pages.get("/")
    def journal() -> ResponseReturnValue:
        if not is_operator():
            raise NotFound()
        lines, older = gateway.journal(request.args.get("before", type=int))
        return render_template("sandbox/journal.html", lines=lines, older=older, labels=labels)

    @pages.get("/pages/<reference>")
    def page(reference: str) -> ResponseReturnValue:
        found = _protected(gateway.page(reference))
        if found.challenged:
            return redirect(url_for(".challenge", reference=found.challenge), 303)
        return _form(found, _first_values(found)) if found.open else _done(found)

    @pages.post("/pages/<reference>")
    def submit(reference: str) -> ResponseReturnValue:
        _protected(gateway.page(reference))
        typed = CardForm(*(request.form.get(name, "") for name in ("number", "expiry", "cvc", "name", "country", "postal_code")))
        try:
            found = gateway.submit_page(reference, typed)
        except Invalid as refused:
            return _form(gateway.page(reference), _retained_values(typed), refused.fields), 422
        if found.challenged:
            return redirect(url_for(".challenge", reference=found.challenge), 303)
        return (_form(found, _retained_values(typed)), 422) if found.open else _go_back(found)

    @pages.post("/pages/<reference>/cancel")
    def leave(reference: str) -> ResponseReturnValue:
        _protected(gateway.page(reference))
        return _go_back(gateway.leave_page(reference))

    @pages.get("/challenge/<reference>")
    def challenge(reference: str) -> ResponseReturnValue:
        found = _protected(gateway.challenge(reference))
        if found.open and not found.challenged:
            return redirect(url_for(".page", reference=found.reference), 303)
        if not found.open:
            return _done(found)
        with _page_language(found):
            return render_template("sandbox/challenge.html", page=found)

    @pages.post("/challenge/<reference>")
    def answer(reference: str) -> ResponseReturnValue:
        _protected(gateway.challenge(reference))
        found = gateway.answer_challenge(reference, approved=request.form.get("answer") == "approve")
        return redirect(url_for(".page", reference=found.reference), 303) if found.open else _go_back(found)

    def _go_back(found: HostedSession) -> ResponseReturnValue:
        gateway.deliver_due()
        target = return_address(found)
        return redirect(target, 303) if target else _done(found)

    _add_payment_page(pages, gateway)
    return pages


def _add_payment_page(pages: Blueprint, gateway: SandboxGateway) -> None:
    @pages.get("/payments/<reference>")
    def payment(reference: str) -> ResponseReturnValue:
        token_page()
        return _payment(gateway.on_page(returns.read, reference))

    @pages.post("/payments/<reference>")
    def change_payment(reference: str) -> ResponseReturnValue:
        """Refund, let a refund fail, dispute, or decide a dispute: what happens at a real processor without the portal."""
        token_page()
        found = gateway.on_page(returns.read, reference)
        try:
            _change(gateway, found, request.form.get("act", ""), request.form.get("about", ""))
        except Invalid as refused:
            return _payment(found, refused.fields), 422
        gateway.deliver_due()
        return redirect(url_for(".payment", reference=reference), 303)


def _change(gateway: SandboxGateway, found: returns.SandboxPayment, act: str, about: str) -> None:
    if act in ("refund", "dispute"):
        formats = formatter()
        try:
            minor = read_amount(request.form.get("amount", ""), found.amount.currency, formats.locale)
        except ValueError:
            raise Invalid(fields={"amount": N_("Enter an amount that is left of this payment.")}) from None
        if act == "refund":
            gateway.on_page(returns.refund, found.reference, minor)
        else:
            gateway.on_page(returns.open_dispute, found.reference, minor, request.form.get("reason", "general"))
    elif act == "fail" and about in [reference for reference, _amount, _state in found.refunds]:
        gateway.on_page(returns.fail_refund, about)
    elif about in [dispute.reference for dispute in found.disputes]:
        gateway.on_page(returns.decide_dispute, about, act)
    else:
        raise NotFound()


def _payment(found: returns.SandboxPayment, errors: dict[str, str] | None = None) -> str:
    return render_template(
        "sandbox/payment.html",
        found=found,
        labels=labels,
        decisions=returns.DECISIONS,
        open_states=returns.OPEN,
        reasons=DISPUTE_REASONS,
        left=write_amount(found.left.minor, found.left.currency, formatter().locale),
        errors={name: _(sentence) for name, sentence in (errors or {}).items()},
    )


def enter_page() -> None:
    enter(Door(kind="auth", title=services().settings.name))


def return_address(page: HostedSession) -> str | None:
    """Return the caller's address unchanged, with `status` added to its query."""
    paid = page.state in ("succeeded", "processing") or not page.reference
    url = page.return_url if paid else page.cancel_url or page.return_url
    if not url:
        return None
    address, mark, fragment = url.partition("#")
    joint = "" if address.endswith(("?", "&")) else "&" if "?" in address else "?"
    return f"{address}{joint}status={page.status}{mark}{fragment}"


def countries(locale: str) -> list[tuple[str, str]]:
    """Return (ISO code, name) of the countries in the given language, sorted by name."""
    known = locale_of(locale).territories
    return sorted(((code, name) for code, name in known.items() if len(code) == 2 and code.isalpha() and code not in _NO_COUNTRY),
                  key=lambda pair: pair[1])  # fmt: skip


def _protected(page: HostedSession) -> HostedSession:
    """Disable caching and the referrer for this page. Allow its forms to redirect to the caller's addresses."""
    token_page()
    for url in (page.return_url, page.cancel_url):
        if url:
            parts = urlsplit(url)
            allow_form_to(f"{parts.scheme}://{parts.netloc}")
    return page


def _form(page: HostedSession, values: dict[str, str], errors: dict[str, str] | None = None) -> str:
    with _page_language(page):
        return render_template(
            "sandbox/page.html", page=page, values=values, errors={name: _(sentence) for name, sentence in (errors or {}).items()},
            countries=[("", _("Choose a country")), *countries(i18n.locale())], cards=TEST_CARDS, labels=labels,
        )  # fmt: skip


def _done(page: HostedSession) -> str:
    with _page_language(page):
        return render_template("sandbox/done.html", page=page, back=return_address(page), labels=labels)


def _first_values(page: HostedSession) -> dict[str, str]:
    return {"name": page.prefill or "", "country": locale_of(page.locale).territory or ""}


def _retained_values(typed: CardForm) -> dict[str, str]:
    """Return the values that a second attempt starts with. Card numbers and the security code are never included."""
    values = {"name": typed.holder, "expiry": typed.expiry, "country": typed.country, "postal_code": typed.postal_code}
    return {name: "" if holds_number(value) else value for name, value in values.items()}


@contextmanager
def _page_language(page: HostedSession) -> Iterator[None]:
    """Use the language of the request, unless the visitor has chosen one."""
    if request.cookies.get(i18n.COOKIE):
        yield
        return
    with i18n.speaking(page.locale):
        g.pop("formatter", None)
        try:
            yield
        finally:
            g.pop("formatter", None)
