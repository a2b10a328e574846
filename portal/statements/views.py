"""The pages: the form, and the answer that everybody gets, with the statement as PDF."""

from __future__ import annotations

import hmac
from collections.abc import Mapping

from flask import Blueprint, Response, g, redirect, render_template, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from auth import rate_limits, sign_in_context
from auth.sessions import current_visit
from billing.documents import Unprintable
from billing.documents.statements import render_statement
from billing.model.business_profile import BusinessProfile, public_profile
from billing.rights.table import cancel_labels, withdraw_labels
from billing.statements import business as businesses
from billing.statements import declare
from billing.statements.queries import find_statement
from core import i18n, ids
from core.errors import Invalid, NotFound, Unavailable
from core.request_context import current_door, services
from core.security import token_page
from portal.statements import sentences
from portal.statements.document import document_of

bp = Blueprint("statements", __name__)


@bp.route("/cancel", methods=["GET", "POST"])
def cancel() -> ResponseReturnValue:
    """The form for a contract with any business; at a custom domain, with the business of that domain."""
    domain = g.get("domain")
    return _form(_profile(domain.business_id) if domain is not None else None)


@bp.route("/cancel/<business_id>", methods=["GET", "POST"])
def cancel_at_business(business_id: str) -> ResponseReturnValue:
    return _form(_profile(business_id))


@bp.route("/withdraw", methods=["GET", "POST"])
def withdraw() -> ResponseReturnValue:
    """As `cancel`, for a withdrawal."""
    domain = g.get("domain")
    return _form(_profile(domain.business_id) if domain is not None else None, "withdraw")


@bp.route("/withdraw/<business_id>", methods=["GET", "POST"])
def withdraw_at_business(business_id: str) -> ResponseReturnValue:
    return _form(_profile(business_id), "withdraw")


@bp.get("/cancel/<business_id>/statements/<statement_id>/<token>")
@bp.get("/withdraw/<business_id>/statements/<statement_id>/<token>")
def received(business_id: str, statement_id: str, token: str) -> ResponseReturnValue:
    profile, statement = _statement(business_id, statement_id, token)
    return render_template("statements/received.html", business=profile, statement=statement, pdf_url=f"{request.path}/pdf")


@bp.get("/cancel/<business_id>/statements/<statement_id>/<token>/pdf")
@bp.get("/withdraw/<business_id>/statements/<statement_id>/<token>/pdf")
def statement_pdf(business_id: str, statement_id: str, token: str) -> ResponseReturnValue:
    profile, statement = _statement(business_id, statement_id, token)
    try:
        pdf = render_statement(document_of(statement, profile, is_test=services().settings.is_test))
    except Unprintable:
        raise Unavailable() from None
    disposition = f'attachment; filename="{statement.number}.pdf"'
    return Response(pdf, content_type="application/pdf", headers={"Content-Disposition": disposition})


def statement_links() -> list[tuple[str, str, str]]:
    """Return (address, label, language) of the links to the forms at this door, for the footer of every page."""
    door = current_door()
    end, country = f"/{door.business_id}" if door.business_id else "", getattr(door.business, "country", None)
    cancel = [(f"/cancel{end}", label.first, label.language) for label in cancel_labels(i18n.locale(), country)]
    return [*cancel, *((f"/withdraw{end}", label.first, label.language) for label in withdraw_labels(i18n.locale(), country))]


def token_of(statement_id: str) -> str:
    """Return the secret part of the address of a statement's page. Whoever declared it can open the page again."""
    return ids.keyed_hash(services().settings.secret_keys, f"{services().settings.mode}/statement", statement_id)[:40]


def pdf_url(business_id: str, statement_id: str) -> str:
    """Return the address of a withdrawal's statement as PDF, for whoever declared it."""
    return f"/withdraw/{business_id}/statements/{statement_id}/{token_of(statement_id)}/pdf"


def _form(profile: BusinessProfile | None, kind: str = "cancel") -> ResponseReturnValue:
    sign_in_context.require_sign_in_context(profile)
    if request.method != "POST":
        return _page(kind, profile, _known())
    form = request.form
    errors, named = {}, [profile] if profile else businesses.named(services().database, form.get("business", ""))
    if len(named) != 1:
        errors["business"] = _several() if named else _("We don’t know this business. Enter its name as on your invoice.")
    try:
        declaration = declare.check(form)
    except Invalid as wrong:
        errors |= {field: _(sentence) for field, sentence in wrong.fields.items()}
    if errors:
        return _page(kind, profile, form, errors, named if len(named) > 1 else []), 422
    chosen = named[0]
    assert chosen is not None
    if not rate_limits.spend(services().database, rate_limits.statements(services().settings, request.remote_addr)):
        crowded = _("Too many statements were sent from your network. Please try again in a few minutes.")
        return _page(kind, profile, form, {"contract": crowded}), 429
    statement = declare.declare(
        services().database,
        declaration,
        business_id=chosen.business_id,
        zone=chosen.zone,
        country=chosen.country,
        language=i18n.locale(),
        sentence=sentences.withdrawal(declaration.contract, chosen.name)
        if kind == "withdraw"
        else sentences.declared(declaration, chosen.name, i18n.locale()),
        kind=kind,
    )
    return redirect(f"/{kind}/{chosen.business_id}/statements/{statement.id}/{token_of(statement.id)}", 303)


def _several() -> str:
    return _("Several businesses have this name. Choose one of them.")


def _page(
    kind: str,
    profile: BusinessProfile | None,
    typed: Mapping[str, str],
    errors: dict[str, str] | None = None,
    choices: list[BusinessProfile] | None = None,
) -> str:
    country = profile.country if profile else None
    return render_template(
        f"statements/{kind}.html",
        business=profile,
        labels=(withdraw_labels if kind == "withdraw" else cancel_labels)(i18n.locale(), country),
        language_name=i18n.own_name,
        typed=typed,
        errors=errors or {},
        choices=choices or [],
        action=request.path,
    )


def _known() -> dict[str, str]:
    """Return what a signed-in person need not type again."""
    visit = current_visit()
    return {"name": visit.name or "", "email": visit.email} if visit is not None else {}


def _profile(business_id: str) -> BusinessProfile:
    profile = public_profile(services().database, business_id)
    if profile is None:
        raise NotFound()
    return profile


def _statement(business_id: str, statement_id: str, token: str):  # type: ignore[no-untyped-def]
    """Return (business, statement). Raises NotFound, also for a wrong token."""
    token_page()
    profile = _profile(business_id)
    sign_in_context.require_sign_in_context(profile)
    settings = services().settings
    hashes = ids.keyed_hashes(settings.secret_keys, f"{settings.mode}/statement", statement_id)
    if not any(hmac.compare_digest(item[:40].encode(), token.encode()) for item in hashes):
        raise NotFound()
    statement = find_statement(services().database, business_id, statement_id)
    if statement is None:
        raise NotFound()
    return profile, statement
