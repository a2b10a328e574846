"""Webhook endpoints: address, event types and signing secret (`tenants/webhooks/`)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from flask import flash, redirect, render_template, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_babel import ngettext

from core import clock
from core.errors import N_, Conflict, Invalid
from core.links import here
from core.request_context import db, services
from core.security import token_page
from portal.confirmation import unconfirmed
from tenants.console.access import bp, current_member, needs, needs_fresh_proof
from tenants.emails import notify_owners
from tenants.webhooks import endpoints, history, secrets
from tenants.webhooks.event_types import SENT
from tenants.webhooks.models import Endpoint

SHOWN = 15
DESCRIPTION_LIMIT = 500


@bp.get("/<business_id>/developers/webhooks")
@needs("developers.read")
def webhooks() -> ResponseReturnValue:
    rows, _done = endpoints.page(db(), endpoints.MAX_ENDPOINTS)
    return render_template("tenants/console/webhooks.html", rows=rows, base=here("console.webhooks"), may_write=_may_write())


@bp.get("/<business_id>/developers/webhooks/new")
@needs("developers.webhooks")
@needs_fresh_proof
def new_webhook() -> ResponseReturnValue:
    return _new({})


@bp.post("/<business_id>/developers/webhooks/new")
@needs("developers.webhooks")
@needs_fresh_proof
def create_webhook() -> ResponseReturnValue:
    try:
        row = endpoints.create(
            db(),
            services().outgoing,
            current_member().business_id,
            request.form.get("url", "").strip(),
            description=_description(),
            filter_types=request.form.getlist("types"),
        )
    except (Invalid, Conflict) as wrong:
        return _new(request.form, _messages(wrong)), 422
    notify_owners(db(), "webhook_changed", endpoints.host_of(row))
    flash(_("Webhook created. Use the signing secret on this page to verify messages."), "good")
    return redirect(_of(row.id), 303)


@bp.get("/<business_id>/developers/webhooks/<webhook_id>")
@needs("developers.read")
def webhook(webhook_id: str) -> ResponseReturnValue:
    return _page(webhook_id)


@bp.post("/<business_id>/developers/webhooks/<webhook_id>")
@needs("developers.webhooks")
@needs_fresh_proof
def edit_webhook(webhook_id: str) -> ResponseReturnValue:
    try:
        row = endpoints.change(
            db(),
            services().outgoing,
            webhook_id,
            url=request.form.get("url", "").strip(),
            description=_description(),
            filter_types=request.form.getlist("types"),
        )
    except Invalid as wrong:
        return _page(webhook_id, request.form, _messages(wrong)), 422
    notify_owners(db(), "webhook_changed", endpoints.host_of(row))
    flash(_("Saved."), "good")
    return redirect(_of(webhook_id), 303)


@bp.post("/<business_id>/developers/webhooks/<webhook_id>/switch")
@needs("developers.webhooks")
@needs_fresh_proof
def switch_webhook(webhook_id: str) -> ResponseReturnValue:
    off = request.form.get("to") == "off"
    row = endpoints.change(db(), services().outgoing, webhook_id, disabled=off)
    notify_owners(db(), "webhook_changed", endpoints.host_of(row))
    message = _("Webhook turned off. New events are held and can be sent later.") if off else _("Webhook turned on. New events are sent.")
    flash(message, "good")
    return redirect(_of(webhook_id), 303)


@bp.post("/<business_id>/developers/webhooks/<webhook_id>/secret")
@needs("developers.webhooks")
@needs_fresh_proof
def show_secret(webhook_id: str) -> ResponseReturnValue:
    """Show the signing secret on a page that is not cached. With `fresh=1`, replace it; the old one also signs for 24 hours."""
    row, rotated = endpoints.find(db(), webhook_id), request.form.get("fresh") == "1"
    confirmation = rotated and unconfirmed(
        _("Replace the secret of this webhook?"),
        _("Replace secret"),
        _of(webhook_id),
        _(
            "Messages to %(host)s are signed with the new secret. For 24 hours they are also signed with the old one.",
            host=endpoints.host_of(row),
        ),
        page="tenants/console/confirm.html",
    )
    if confirmation:
        return confirmation
    if rotated:
        secret = endpoints.rotate_secret(db(), services().settings, webhook_id)
        notify_owners(db(), "webhook_changed", endpoints.host_of(row))
    else:
        secret = secrets.secret_of(services().settings, row)
        notify_owners(db(), "webhook_secret_shown", endpoints.host_of(row))
    token_page()
    return render_template(
        "tenants/console/webhook_secret.html", row=row, secret=secret, rotated=rotated, url=_of(webhook_id), base=here("console.webhooks")
    )


@bp.post("/<business_id>/developers/webhooks/<webhook_id>/removal")
@needs("developers.webhooks")
@needs_fresh_proof
def remove_webhook(webhook_id: str) -> ResponseReturnValue:
    row = endpoints.find(db(), webhook_id)
    confirmation = unconfirmed(
        _("Delete the webhook to %(host)s?", host=endpoints.host_of(row)),
        _("Delete webhook"),
        _of(webhook_id),
        _("No more events are sent to %(url)s, and the secret is deleted.", url=row.url),
        page="tenants/console/confirm.html",
    )
    if confirmation:
        return confirmation
    endpoints.remove(db(), webhook_id)
    notify_owners(db(), "webhook_changed", endpoints.host_of(row))
    flash(_("Webhook deleted. No more events are sent to %(url)s.", url=row.url), "good")
    return redirect(here("console.webhooks"), 303)


@bp.post("/<business_id>/developers/webhooks/<webhook_id>/test")
@needs("developers.webhooks")
def test_webhook(webhook_id: str) -> ResponseReturnValue:
    """Send a test event with example data. The answer appears among the deliveries."""
    try:
        sent = history.send_test(db(), webhook_id, request.form.get("type", ""))
    except (Invalid, Conflict) as wrong:
        return _page(webhook_id, None, _messages(wrong)), 422
    flash(_("Test event sent. Reload this page in a moment."), "wait")
    return redirect(f"{here('console.webhooks')}/deliveries/{sent.id}", 303)


@bp.post("/<business_id>/developers/webhooks/<webhook_id>/replays")
@needs("developers.webhooks")
def replay_failed(webhook_id: str) -> ResponseReturnValue:
    """Send again all messages of the last seven days that failed or were held while the webhook was off."""
    count = history.replay_since(db(), webhook_id, clock.wall() - timedelta(days=7))
    flash(
        ngettext("One event is sent again.", "%(num)d events are sent again.", count)
        if count
        else _("Nothing to resend from the last 7 days."),
        "good",
    )
    return redirect(_of(webhook_id), 303)


def _may_write() -> bool:
    return current_member().may("developers.webhooks")


def _of(webhook_id: str) -> str:
    return f"{here('console.webhooks')}/{webhook_id}"


def _description() -> str:
    text = " ".join(request.form.get("description", "").split())
    if len(text) > DESCRIPTION_LIMIT:
        raise Invalid(fields={"description": N_("Enter at most 500 characters.")})
    return text


def _messages(wrong: Invalid | Conflict) -> dict[str, str]:
    found = {{"filter_types": "types"}.get(name, name): _(said) for name, said in wrong.fields.items()}
    return found or {"url": _(wrong.sentence)}


def _new(typed: Mapping[str, Any], errors: dict[str, str] | None = None) -> str:
    return render_template(
        "tenants/console/webhook_new.html",
        typed=typed,
        errors=errors or {},
        base=here("console.webhooks"),
        types=SENT,
        ticked=set(request.form.getlist("types")),
    )


def _page(webhook_id: str, typed: Mapping[str, Any] | None = None, errors: dict[str, str] | None = None) -> str:
    row: Endpoint = endpoints.find(db(), webhook_id)
    ticked = set(row.filter_types) if typed is None else set(request.form.getlist("types"))
    if typed is None:
        typed = {"url": row.url, "description": row.description}
    return render_template(
        "tenants/console/webhook.html",
        row=row,
        typed=typed,
        errors=errors or {},
        base=here("console.webhooks"),
        url=_of(row.id),
        types=SENT,
        ticked=ticked,
        deliveries=history.deliveries(db(), endpoint_id=row.id, limit=SHOWN),
        may_write=_may_write(),
        counts=history.counts(db(), row.id, clock.wall() - timedelta(days=7)),
    )
