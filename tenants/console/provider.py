"""The business's own OpenID provider: issuer, client, which claim names the customer; tested before customers see it."""

from __future__ import annotations

from typing import Any

from flask import flash, redirect, render_template, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from auth.providers import connections, parties, views
from auth.providers.connections import Wish
from core.errors import Conflict, Invalid, NotFound
from core.web import db, here, house
from portal.confirming import unconfirmed
from tenants.console.door import bp, fresh, me, needs
from tenants.letters import tell_owners


@bp.get("/<business_id>/developers/provider")
@needs("developers.read")
def provider() -> ResponseReturnValue:
    return _page()


@bp.post("/<business_id>/developers/provider")
@needs("provider.write")
@fresh
def save_provider() -> ResponseReturnValue:
    form = request.form
    wish = Wish(*(form.get(name, "") for name in ("issuer", "client_id", "client_secret", "label", "claim")))
    try:
        row = connections.save(db(), house().settings, house().outgoing, me().business_id, wish)
    except Invalid as wrong:
        return _page(form, {name: _(sentence) for name, sentence in wrong.fields.items()}), 422
    tell_owners(db(), "provider_changed", row.issuer)
    views.discovery().forget(row.issuer)
    flash(_("Saved. Test it now; customers see it once you switch it on."), "good")
    return redirect(here("console.provider"), 303)


@bp.post("/<business_id>/developers/provider/test")
@needs("provider.write")
@fresh
def test_provider() -> ResponseReturnValue:
    party = parties.of_business(house().database, house().settings, me().business_id, also_disabled=True)
    if party is None:
        raise NotFound()
    return views.leave(party, "test")


@bp.post("/<business_id>/developers/provider/switch")
@needs("provider.write")
@fresh
def switch_provider() -> ResponseReturnValue:
    try:
        row = connections.switch(db(), request.form.get("on") == "1")
    except Conflict as not_yet:
        flash(_(not_yet.sentence), "due")
        return redirect(here("console.provider"), 303)
    tell_owners(db(), "provider_changed", row.issuer)
    flash(_("Customers can sign in with it now.") if row.is_enabled else _("Customers do not see it any more."), "good")
    return redirect(here("console.provider"), 303)


@bp.post("/<business_id>/developers/provider/removal")
@needs("provider.write")
@fresh
def remove_provider() -> ResponseReturnValue:
    kept = connections.current(db())
    asking = kept and unconfirmed(_("Remove %(name)s?", name=kept.issuer), _("Remove the provider"), here("console.provider"),
                         _("Customers cannot sign in with it any more, and those who did are signed out."),
                         page="tenants/console/confirm.html")
    if asking:
        return asking
    row = connections.remove(db())
    tell_owners(db(), "provider_changed", row.issuer)
    flash(_("Removed. Whoever was signed in with it is signed out."), "good")
    return redirect(here("console.provider"), 303)


def _page(typed: Any = None, errors: dict[str, str] | None = None) -> str:
    row, settings = connections.current(db()), house().settings
    kept = {"issuer": row.issuer, "client_id": row.client_id, "label": row.label, "claim": row.claim} if row else {"claim": "email"}
    base = f"{settings.base_url}/login/{me().business_id}/with/sso"
    return render_template(
        "tenants/console/provider.html", row=row, values=typed or kept, errors=errors or {}, may_write=me().may("provider.write"),
        here_url=here("console.provider"), addresses=[
            (_("Redirect URI"), base + "/callback"), (_("Back-channel logout URI"), base + "/logout"),
            (_("Post-logout redirect URI"), f"{settings.base_url}/login/{me().business_id}")])
