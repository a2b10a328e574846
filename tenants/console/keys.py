"""API keys: made, shown once, taken away. What is kept of one is a hash; nobody can look it up again."""

from __future__ import annotations

from flask import flash, redirect, render_template, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from core.security import token_page
from core.web import db, external, here
from portal.confirming import unconfirmed
from tenants import keys as command
from tenants.console.door import bp, fresh, me, needs
from tenants.console.product_form import Form
from tenants.letters import tell_owners


@bp.get("/<business_id>/developers/keys")
@needs("developers.read")
def keys() -> ResponseReturnValue:
    return render_template("tenants/console/keys.html", rows=command.keys_of(db()), base=here("console.keys"), api_url=external("/api"),
                           may_write=me().may("developers.keys"))


@bp.get("/<business_id>/developers/keys/new")
@needs("developers.keys")
@fresh
def new_key() -> ResponseReturnValue:
    return _form({})


@bp.post("/<business_id>/developers/keys/new")
@needs("developers.keys")
@fresh
def create_key() -> ResponseReturnValue:
    """The answer to this form is the only page that ever holds the secret."""
    form = Form(request.form)
    name = form.text("name", 100, _("Name it after the program that uses it."))
    reach = form.choice("reach", ("full", "read"))
    if form.errors:
        return _form(request.form, form.errors), 422
    row, secret = command.new_key(db(), me().business_id, name, read_only=reach == "read")
    tell_owners(db(), "key_created", name)
    token_page()
    return render_template("tenants/console/key_made.html", row=row, secret=secret, base=here("console.keys"),
                           example=f'curl -H "Authorization: Bearer {secret}" {external("/api")}/products')


@bp.post("/<business_id>/developers/keys/<api_key_id>/revocation")
@needs("developers.keys")
@fresh
def revoke_key(api_key_id: str) -> ResponseReturnValue:
    row = command.find_key(db(), api_key_id)
    asking = unconfirmed(_("Revoke %(name)s?", name=row.name), _("Revoke %(name)s", name=row.name), here("console.keys"),
                         _("Programs that use this key are refused from now on."),
                         page="tenants/console/confirm.html")
    if asking:
        return asking
    command.revoke_key(db(), row)
    tell_owners(db(), "key_revoked", row.name)
    flash(_("%(name)s opens nothing any more.", name=row.name), "good")
    return redirect(here("console.keys"), 303)


def _form(typed: object, errors: dict[str, str] | None = None) -> str:
    return render_template("tenants/console/key_new.html", typed=typed, errors=errors or {}, base=here("console.keys"))
