"""Apps that sign customers in through this portal (`auth/oidc_server/`): register, edit, replace the secret, remove."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import flash, redirect, render_template, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from auth.oidc_server import apps as command
from auth.oidc_server.apps import AppForm
from auth.oidc_server.models import App
from core.errors import Conflict, Invalid
from core.links import here
from core.request_context import db, services
from core.security import token_page
from portal.confirmation import unconfirmed
from tenants.console.access import bp, current_member, needs, needs_fresh_proof
from tenants.emails import notify_owners


@bp.get("/<business_id>/developers/apps")
@needs("developers.read")
def apps() -> ResponseReturnValue:
    return render_template(
        "tenants/console/apps.html",
        rows=command.of_business(db()),
        base=here("console.apps"),
        may_write=_may_write(),
        issuer=services().settings.base_url,
    )


@bp.get("/<business_id>/developers/apps/new")
@needs("provider.write")
@needs_fresh_proof
def new_app() -> ResponseReturnValue:
    return _form({})


@bp.post("/<business_id>/developers/apps/new")
@needs("provider.write")
@needs_fresh_proof
def create_app() -> ResponseReturnValue:
    """Register the app. The response is the only page that contains the secret."""
    try:
        row, secret = command.add(
            db(),
            services().settings,
            services().outgoing,
            current_member().business_id,
            _app_form(),
            public=request.form.get("kind") == "public",
        )
    except Invalid as wrong:
        return _form(request.form, {name: _(message) for name, message in wrong.fields.items()}), 422
    except Conflict as many:
        return _form(request.form, {"name": _(many.sentence)}), 409
    notify_owners(db(), "client_changed", row.name)
    return _created_page(row, secret)


@bp.get("/<business_id>/developers/apps/<app_id>")
@needs("developers.read")
def one_app(app_id: str) -> ResponseReturnValue:
    return _page(app_id)


@bp.post("/<business_id>/developers/apps/<app_id>")
@needs("provider.write")
@needs_fresh_proof
def change_app(app_id: str) -> ResponseReturnValue:
    try:
        row = command.change(db(), services().settings, services().outgoing, app_id, _app_form())
    except Invalid as wrong:
        return _page(app_id, request.form, {name: _(message) for name, message in wrong.fields.items()}), 422
    notify_owners(db(), "client_changed", row.name)
    flash(_("Saved."), "good")
    return redirect(f"{here('console.apps')}/{app_id}", 303)


@bp.post("/<business_id>/developers/apps/<app_id>/secret")
@needs("provider.write")
@needs_fresh_proof
def renew_app_secret(app_id: str) -> ResponseReturnValue:
    row = command.find(db(), app_id)
    confirmation = not row.is_public and unconfirmed(
        _("Replace the secret of %(name)s?", name=row.name),
        _("Replace secret"),
        here("console.apps"),
        _("The current secret stops working immediately. The app cannot sign anyone in until it has the new one."),
        page="tenants/console/confirm.html",
    )
    if confirmation:
        return confirmation
    row, secret = command.renew_secret(db(), services().settings, app_id)
    notify_owners(db(), "client_changed", row.name)
    return _created_page(row, secret, is_new=False)


@bp.post("/<business_id>/developers/apps/<app_id>/removal")
@needs("provider.write")
@needs_fresh_proof
def remove_app(app_id: str) -> ResponseReturnValue:
    row = command.find(db(), app_id)
    confirmation = unconfirmed(
        _("Remove %(name)s?", name=row.name),
        _("Remove %(name)s", name=row.name),
        here("console.apps"),
        _("Customers can no longer sign in to the app. Everyone signed in to it is signed out."),
        page="tenants/console/confirm.html",
    )
    if confirmation:
        return confirmation
    row = command.remove(db(), app_id)
    notify_owners(db(), "client_changed", row.name)
    flash(_("%(name)s is removed.", name=row.name), "good")
    return redirect(here("console.apps"), 303)


def _may_write() -> bool:
    return current_member().may("provider.write")


def _app_form() -> AppForm:
    return AppForm(*(request.form.get(name, "") for name in ("name", "redirect_uris", "post_logout_uris", "backchannel_uri")))


def _form(typed: Mapping[str, Any], errors: dict[str, str] | None = None) -> str:
    return render_template("tenants/console/app_new.html", typed=typed, errors=errors or {}, base=here("console.apps"))


def _created_page(row: App, secret: str | None, *, is_new: bool = True) -> ResponseReturnValue:
    token_page()
    return render_template(
        "tenants/console/app_created.html",
        row=row,
        secret=secret,
        is_new=is_new,
        base=here("console.apps"),
        issuer=services().settings.base_url,
    )


def _page(app_id: str, typed: Mapping[str, Any] | None = None, errors: dict[str, str] | None = None) -> str:
    row = command.find(db(), app_id)
    kept = {
        "name": row.name,
        "redirect_uris": "\n".join(row.redirect_uris),
        "post_logout_uris": "\n".join(row.post_logout_uris),
        "backchannel_uri": row.backchannel_uri or "",
    }
    return render_template(
        "tenants/console/app.html",
        row=row,
        typed=typed if typed is not None else kept,
        errors=errors or {},
        base=here("console.apps"),
        may_write=_may_write(),
        issuer=services().settings.base_url,
    )
