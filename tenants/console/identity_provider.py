"""The business's own OpenID provider: issuer, client and customer claim. It is tested before customers see it."""

from __future__ import annotations

from typing import Any

from flask import flash, redirect, render_template, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from auth.oidc_client import connections, provider_config, views
from auth.oidc_client.connections import ConnectionForm
from core.errors import Conflict, Invalid, NotFound
from core.links import here
from core.request_context import db, services
from portal.confirmation import unconfirmed
from tenants.console.access import bp, current_member, needs, needs_fresh_proof
from tenants.emails import notify_owners


@bp.get("/<business_id>/developers/provider")
@needs("developers.read")
def provider() -> ResponseReturnValue:
    return _page()


@bp.post("/<business_id>/developers/provider")
@needs("provider.write")
@needs_fresh_proof
def save_provider() -> ResponseReturnValue:
    form = request.form
    connection = ConnectionForm(*(form.get(name, "") for name in ("issuer", "client_id", "client_secret", "label", "claim")))
    try:
        row = connections.save(db(), services().settings, services().outgoing, current_member().business_id, connection)
    except Invalid as wrong:
        return _page(form, {name: _(sentence) for name, sentence in wrong.fields.items()}), 422
    notify_owners(db(), "provider_changed", row.issuer)
    views.discovery().forget(row.issuer)
    flash(_("Saved. Test the provider now. Customers see it once you turn it on."), "good")
    return redirect(here("console.provider"), 303)


@bp.post("/<business_id>/developers/provider/test")
@needs("provider.write")
@needs_fresh_proof
def test_provider() -> ResponseReturnValue:
    party = provider_config.of_business(services().database, services().settings, current_member().business_id, also_disabled=True)
    if party is None:
        raise NotFound()
    return views.redirect_to_provider(party, "test")


@bp.post("/<business_id>/developers/provider/switch")
@needs("provider.write")
@needs_fresh_proof
def switch_provider() -> ResponseReturnValue:
    try:
        row = connections.switch(db(), request.form.get("on") == "1")
    except Conflict as not_yet:
        flash(_(not_yet.sentence), "due")
        return redirect(here("console.provider"), 303)
    notify_owners(db(), "provider_changed", row.issuer)
    flash(_("Customers can now sign in with this provider.") if row.is_enabled else _("Customers no longer see this provider."), "good")
    return redirect(here("console.provider"), 303)


@bp.post("/<business_id>/developers/provider/removal")
@needs("provider.write")
@needs_fresh_proof
def remove_provider() -> ResponseReturnValue:
    kept = connections.current(db())
    confirmation = kept and unconfirmed(
        _("Remove %(name)s?", name=kept.issuer),
        _("Remove provider"),
        here("console.provider"),
        _("Customers can no longer sign in with this provider. Those who did are signed out."),
        page="tenants/console/confirm.html",
    )
    if confirmation:
        return confirmation
    row = connections.remove(db())
    notify_owners(db(), "provider_changed", row.issuer)
    flash(_("Provider removed. Customers who signed in with it are signed out."), "good")
    return redirect(here("console.provider"), 303)


def _page(typed: Any = None, errors: dict[str, str] | None = None) -> str:
    row, settings = connections.current(db()), services().settings
    kept = {"issuer": row.issuer, "client_id": row.client_id, "label": row.label, "claim": row.claim} if row else {"claim": "email"}
    base = f"{settings.base_url}/login/{current_member().business_id}/with/sso"
    return render_template(
        "tenants/console/provider.html",
        row=row,
        values=typed or kept,
        errors=errors or {},
        may_write=current_member().may("provider.write"),
        here_url=here("console.provider"),
        addresses=[
            (_("Redirect URI"), base + "/callback"),
            (_("Back-channel logout URI"), base + "/logout"),
            (_("Post-logout redirect URI"), f"{settings.base_url}/login/{current_member().business_id}"),
        ],
    )
