"""Webhook endpoints: where events are sent, which, and with which secret they are signed (`tenants/webhooks/`)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from flask import flash, redirect, render_template, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_babel import ngettext

from core import clock
from core.errors import Conflict, Invalid
from core.security import token_page
from core.web import db, here, house
from portal.confirming import unconfirmed
from tenants.console.door import bp, fresh, me, needs
from tenants.letters import tell_owners
from tenants.webhooks import endpoints, history, sealing
from tenants.webhooks.kinds import SENT
from tenants.webhooks.tables import Endpoint

SHOWN = 15
DESCRIPTION_LIMIT = 500


@bp.get("/<business_id>/developers/webhooks")
@needs("developers.read")
def webhooks() -> ResponseReturnValue:
    rows, _done = endpoints.page(db(), endpoints.MOST)
    return render_template("tenants/console/webhooks.html", rows=rows, base=here("console.webhooks"), may_write=_may())


@bp.get("/<business_id>/developers/webhooks/new")
@needs("developers.webhooks")
@fresh
def new_webhook() -> ResponseReturnValue:
    return _new({})


@bp.post("/<business_id>/developers/webhooks/new")
@needs("developers.webhooks")
@fresh
def create_webhook() -> ResponseReturnValue:
    try:
        row = endpoints.create(db(), house().outgoing, me().business_id, request.form.get("url", "").strip(),
                               description=_description(), filter_types=request.form.getlist("types"))
    except (Invalid, Conflict) as wrong:
        return _new(request.form, _said(wrong)), 422
    tell_owners(db(), "webhook_changed", endpoints.host_of(row))
    flash(_("From now on events go there. Check their signature with the secret, which stands on this page."), "good")
    return redirect(_of(row.id), 303)


@bp.get("/<business_id>/developers/webhooks/<webhook_id>")
@needs("developers.read")
def webhook(webhook_id: str) -> ResponseReturnValue:
    return _page(webhook_id)


@bp.post("/<business_id>/developers/webhooks/<webhook_id>")
@needs("developers.webhooks")
@fresh
def edit_webhook(webhook_id: str) -> ResponseReturnValue:
    try:
        row = endpoints.change(db(), house().outgoing, webhook_id, url=request.form.get("url", "").strip(), description=_description(),
                               filter_types=request.form.getlist("types"))
    except Invalid as wrong:
        return _page(webhook_id, request.form, _said(wrong)), 422
    tell_owners(db(), "webhook_changed", endpoints.host_of(row))
    flash(_("Saved."), "good")
    return redirect(_of(webhook_id), 303)


@bp.post("/<business_id>/developers/webhooks/<webhook_id>/switch")
@needs("developers.webhooks")
@fresh
def switch_webhook(webhook_id: str) -> ResponseReturnValue:
    off = request.form.get("to") == "off"
    row = endpoints.change(db(), house().outgoing, webhook_id, disabled=off)
    tell_owners(db(), "webhook_changed", endpoints.host_of(row))
    said = _("Switched off. Events wait here, and can be sent later.") if off else _("Switched on. What happens from now on is sent.")
    flash(said, "good")
    return redirect(_of(webhook_id), 303)


@bp.post("/<business_id>/developers/webhooks/<webhook_id>/secret")
@needs("developers.webhooks")
@fresh
def show_secret(webhook_id: str) -> ResponseReturnValue:
    """Shown on a page of its own, which nobody keeps; with `fresh=1` a new one, and the old one signs for a day beside it."""
    row, rotated = endpoints.find(db(), webhook_id), request.form.get("fresh") == "1"
    asking = rotated and unconfirmed(
        _("Replace the secret of this webhook?"), _("Replace the secret"), _of(webhook_id),
        _("Messages to %(host)s are signed with the new one. The old one signs beside it for a day.", host=endpoints.host_of(row)),
        page="tenants/console/confirm.html")
    if asking:
        return asking
    if rotated:
        secret = endpoints.rotate_secret(db(), house().settings, webhook_id)
        tell_owners(db(), "webhook_changed", endpoints.host_of(row))
    else:
        secret = sealing.secret_of(house().settings, row)
        tell_owners(db(), "webhook_secret_shown", endpoints.host_of(row))
    token_page()
    return render_template("tenants/console/webhook_secret.html", row=row, secret=secret, rotated=rotated, url=_of(webhook_id),
                           base=here("console.webhooks"))


@bp.post("/<business_id>/developers/webhooks/<webhook_id>/removal")
@needs("developers.webhooks")
@fresh
def remove_webhook(webhook_id: str) -> ResponseReturnValue:
    row = endpoints.find(db(), webhook_id)
    asking = unconfirmed(_("Delete the webhook to %(host)s?", host=endpoints.host_of(row)), _("Delete webhook"), _of(webhook_id),
                         _("Nothing is sent to %(url)s any more, and its secret is deleted.", url=row.url),
                         page="tenants/console/confirm.html")
    if asking:
        return asking
    endpoints.remove(db(), webhook_id)
    tell_owners(db(), "webhook_changed", endpoints.host_of(row))
    flash(_("Nothing is sent to %(url)s any more.", url=row.url), "good")
    return redirect(here("console.webhooks"), 303)


@bp.post("/<business_id>/developers/webhooks/<webhook_id>/test")
@needs("developers.webhooks")
def test_webhook(webhook_id: str) -> ResponseReturnValue:
    """An example about nobody, sent at once; what came back stands with the deliveries a moment later."""
    try:
        sent = history.send_test(db(), webhook_id, request.form.get("type", ""))
    except (Invalid, Conflict) as wrong:
        return _page(webhook_id, None, _said(wrong)), 422
    flash(_("A test is on its way. Look at this page again in a moment."), "wait")
    return redirect(f"{here('console.webhooks')}/deliveries/{sent.id}", 303)


@bp.post("/<business_id>/developers/webhooks/<webhook_id>/replays")
@needs("developers.webhooks")
def replay_failed(webhook_id: str) -> ResponseReturnValue:
    """Everything of the last seven days that failed, or waited while this was off."""
    count = history.replay_since(db(), webhook_id, clock.wall() - timedelta(days=7))
    flash(ngettext("One event is sent again.", "%(num)d events are sent again.", count) if count else _("Nothing failed in the last week."),
          "good")
    return redirect(_of(webhook_id), 303)


def _may() -> bool:
    return me().may("developers.webhooks")


def _of(webhook_id: str) -> str:
    return f"{here('console.webhooks')}/{webhook_id}"


def _description() -> str:
    text = " ".join(request.form.get("description", "").split())
    if len(text) > DESCRIPTION_LIMIT:
        raise Invalid(fields={"description": "Please keep it under 500 characters."})
    return text


def _said(wrong: Invalid | Conflict) -> dict[str, str]:
    found = {{"filter_types": "types"}.get(name, name): _(said) for name, said in wrong.fields.items()}
    return found or {"url": _(wrong.sentence)}


def _new(typed: Mapping[str, Any], errors: dict[str, str] | None = None) -> str:
    return render_template("tenants/console/webhook_new.html", typed=typed, errors=errors or {}, base=here("console.webhooks"), types=SENT,
                           ticked=set(request.form.getlist("types")))


def _page(webhook_id: str, typed: Mapping[str, Any] | None = None, errors: dict[str, str] | None = None) -> str:
    row: Endpoint = endpoints.find(db(), webhook_id)
    ticked = set(row.filter_types) if typed is None else set(request.form.getlist("types"))
    if typed is None:
        typed = {"url": row.url, "description": row.description}
    return render_template(
        "tenants/console/webhook.html", row=row, typed=typed, errors=errors or {}, base=here("console.webhooks"), url=_of(row.id),
        types=SENT, ticked=ticked, deliveries=history.deliveries(db(), endpoint_id=row.id, limit=SHOWN), may_write=_may(),
        counts=history.counts(db(), row.id, clock.wall() - timedelta(days=7)))
