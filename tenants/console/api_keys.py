"""API keys: create, show once, revoke. Only a hash is stored, so a key cannot be looked up again."""

from __future__ import annotations

from flask import flash, redirect, render_template, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from auth import api_origins
from core.errors import Invalid
from core.links import external, here
from core.request_context import db, services
from core.security import token_page
from portal.confirmation import unconfirmed
from tenants import api_keys as command
from tenants.console.access import bp, current_member, needs, needs_fresh_proof
from tenants.console.product_form import Form
from tenants.emails import notify_owners


@bp.get("/<business_id>/developers/keys")
@needs("developers.read")
def keys() -> ResponseReturnValue:
    return render_template(
        "tenants/console/keys.html",
        rows=command.keys_of(db()),
        base=here("console.keys"),
        api_url=external("/api"),
        may_write=current_member().may("developers.keys"),
        origins=api_origins.origins_of(db()),
        origins_url=f"{here('console.keys')}/origins",
    )


@bp.get("/<business_id>/developers/keys/origins")
@needs("developers.keys")
@needs_fresh_proof
def customer_api_origins() -> ResponseReturnValue:
    return _origins_form("\n".join(api_origins.origins_of(db())), {})


@bp.post("/<business_id>/developers/keys/origins")
@needs("developers.keys")
@needs_fresh_proof
def save_customer_api_origins() -> ResponseReturnValue:
    typed = request.form.get("api_origins", "")[:4000]
    try:
        changed = api_origins.save_origins(db(), services().settings, current_member().business_id, typed.split())
    except Invalid as wrong:
        return _origins_form(typed, {name: _(sentence) for name, sentence in wrong.fields.items()}), 422
    if changed:
        notify_owners(db(), "rules_changed", "api_origins")
    flash(_("Saved.") if changed else _("No changes."), "good")
    return redirect(here("console.keys"), 303)


@bp.get("/<business_id>/developers/keys/new")
@needs("developers.keys")
@needs_fresh_proof
def new_key() -> ResponseReturnValue:
    return _form({})


@bp.post("/<business_id>/developers/keys/new")
@needs("developers.keys")
@needs_fresh_proof
def create_key() -> ResponseReturnValue:
    """Create the key. The response is the only page that contains the secret."""
    form = Form(request.form)
    name = form.text("name", 100, _("Enter a name, such as the program that uses the key."))
    reach = form.choice("reach", ("full", "read"))
    if form.errors:
        return _form(request.form, form.errors), 422
    row, secret = command.new_key(db(), current_member().business_id, name, read_only=reach == "read")
    notify_owners(db(), "key_created", name)
    token_page()
    return render_template(
        "tenants/console/key_created.html",
        row=row,
        secret=secret,
        base=here("console.keys"),
        example=f'curl -H "Authorization: Bearer {secret}" {external("/api")}/products',
    )


@bp.post("/<business_id>/developers/keys/<api_key_id>/revocation")
@needs("developers.keys")
@needs_fresh_proof
def revoke_key(api_key_id: str) -> ResponseReturnValue:
    row = command.find_key(db(), api_key_id)
    confirmation = unconfirmed(
        _("Revoke %(name)s?", name=row.name),
        _("Revoke %(name)s", name=row.name),
        here("console.keys"),
        _("Programs that use this key stop working immediately."),
        page="tenants/console/confirm.html",
    )
    if confirmation:
        return confirmation
    command.revoke_key(db(), row)
    notify_owners(db(), "key_revoked", row.name)
    flash(_("%(name)s is revoked.", name=row.name), "good")
    return redirect(here("console.keys"), 303)


def _origins_form(typed: str, errors: dict[str, str]) -> str:
    return render_template("tenants/console/api_origins.html", typed=typed, errors=errors, base=here("console.keys"))


def _form(typed: object, errors: dict[str, str] | None = None) -> str:
    return render_template("tenants/console/key_new.html", typed=typed, errors=errors or {}, base=here("console.keys"))
