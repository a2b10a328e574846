"""Apps that sign customers in with us (`auth/provider/`): registered, changed, given another secret, removed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import flash, redirect, render_template, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from auth.provider import apps as command
from auth.provider.apps import Wish
from core.errors import Conflict, Invalid
from core.security import token_page
from core.web import db, here, house
from portal.confirming import unconfirmed
from tenants.console.door import bp, fresh, me, needs
from tenants.letters import tell_owners


@bp.get("/<business_id>/developers/apps")
@needs("developers.read")
def apps() -> ResponseReturnValue:
    return render_template("tenants/console/apps.html", rows=command.of_business(db()), base=here("console.apps"), may_write=_may(),
                           issuer=house().settings.base_url)


@bp.get("/<business_id>/developers/apps/new")
@needs("provider.write")
@fresh
def new_app() -> ResponseReturnValue:
    return _form({})


@bp.post("/<business_id>/developers/apps/new")
@needs("provider.write")
@fresh
def create_app() -> ResponseReturnValue:
    """The answer to this form is the only page that ever holds the secret."""
    try:
        row, secret = command.add(db(), house().settings, house().outgoing, me().business_id, _wish(),
                                  public=request.form.get("kind") == "public")
    except Invalid as wrong:
        return _form(request.form, {name: _(said) for name, said in wrong.fields.items()}), 422
    except Conflict as many:
        return _form(request.form, {"name": _(many.sentence)}), 409
    tell_owners(db(), "client_changed", row.name)
    return _made(row, secret)


@bp.get("/<business_id>/developers/apps/<app_id>")
@needs("developers.read")
def one_app(app_id: str) -> ResponseReturnValue:
    return _page(app_id)


@bp.post("/<business_id>/developers/apps/<app_id>")
@needs("provider.write")
@fresh
def change_app(app_id: str) -> ResponseReturnValue:
    try:
        row = command.change(db(), house().settings, house().outgoing, app_id, _wish())
    except Invalid as wrong:
        return _page(app_id, request.form, {name: _(said) for name, said in wrong.fields.items()}), 422
    tell_owners(db(), "client_changed", row.name)
    flash(_("Saved."), "good")
    return redirect(f"{here('console.apps')}/{app_id}", 303)


@bp.post("/<business_id>/developers/apps/<app_id>/secret")
@needs("provider.write")
@fresh
def renew_app_secret(app_id: str) -> ResponseReturnValue:
    row = command.find(db(), app_id)
    asking = not row.is_public and unconfirmed(_("Replace the secret of %(name)s?", name=row.name), _("Replace the secret"),
                                               here("console.apps"),
                         _("The present secret stops working at once. The app cannot sign anybody in until it has the new one."),
                         page="tenants/console/confirm.html")
    if asking:
        return asking
    row, secret = command.renew_secret(db(), house().settings, app_id)
    tell_owners(db(), "client_changed", row.name)
    return _made(row, secret, is_new=False)


@bp.post("/<business_id>/developers/apps/<app_id>/removal")
@needs("provider.write")
@fresh
def remove_app(app_id: str) -> ResponseReturnValue:
    row = command.find(db(), app_id)
    asking = unconfirmed(_("Remove %(name)s?", name=row.name), _("Remove %(name)s", name=row.name), here("console.apps"),
                         _("Nobody can sign in to it any more, and whoever is signed in there is signed out."),
                         page="tenants/console/confirm.html")
    if asking:
        return asking
    row = command.remove(db(), app_id)
    tell_owners(db(), "client_changed", row.name)
    flash(_("%(name)s signs nobody in any more.", name=row.name), "good")
    return redirect(here("console.apps"), 303)


def _may() -> bool:
    return me().may("provider.write")


def _wish() -> Wish:
    return Wish(*(request.form.get(name, "") for name in ("name", "redirect_uris", "post_logout_uris", "backchannel_uri")))


def _form(typed: Mapping[str, Any], errors: dict[str, str] | None = None) -> str:
    return render_template("tenants/console/app_new.html", typed=typed, errors=errors or {}, base=here("console.apps"))


def _made(row: command.App, secret: str | None, *, is_new: bool = True) -> ResponseReturnValue:
    token_page()
    return render_template("tenants/console/app_made.html", row=row, secret=secret, is_new=is_new, base=here("console.apps"),
                           issuer=house().settings.base_url)


def _page(app_id: str, typed: Mapping[str, Any] | None = None, errors: dict[str, str] | None = None) -> str:
    row = command.find(db(), app_id)
    kept = {"name": row.name, "redirect_uris": "\n".join(row.redirect_uris), "post_logout_uris": "\n".join(row.post_logout_uris),
            "backchannel_uri": row.backchannel_uri or ""}
    return render_template("tenants/console/app.html", row=row, typed=typed if typed is not None else kept, errors=errors or {},
                           base=here("console.apps"), may_write=_may(), issuer=house().settings.base_url)
