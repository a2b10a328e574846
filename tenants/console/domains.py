"""The business's own domain (`auth/domains/`): add, verify by DNS, remove."""

from __future__ import annotations

from flask import current_app, flash, redirect, render_template, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from auth.domains import verification as command
from auth.domains.dns import Unknown
from auth.domains.verification import Binding
from core.background_calls import Pending
from core.errors import Conflict, Invalid
from core.links import here
from core.request_context import db, services
from core.scope import staff
from portal.confirmation import unconfirmed
from tenants.console.access import bp, current_member, needs, needs_fresh_proof
from tenants.emails import notify_owners


@bp.get("/<business_id>/domain")
@needs("settings.read")
def domains() -> ResponseReturnValue:
    return _page()


@bp.post("/<business_id>/domain")
@needs("domain.write")
@needs_fresh_proof
def add_domain() -> ResponseReturnValue:
    typed = request.form.get("host", "")
    try:
        row = command.add(db(), services().settings, current_member().business_id, typed)
    except (Invalid, Conflict) as wrong:
        return _page(typed, {"host": _(wrong.fields.get("host") or wrong.sentence)}), wrong.status
    notify_owners(db(), "domain_changed", row.host)
    flash(_("Domain added. Now add the records to its DNS, then check."), "good")
    return redirect(here("console.domains"), 303)


@bp.post("/<business_id>/domain/<domain_id>/check")
@needs("domain.write")
@needs_fresh_proof
def check_domain(domain_id: str) -> ResponseReturnValue:
    """Check the domain's DNS records. The query runs in another thread and this page waits only briefly, as DNS may never answer."""
    with services().database.open(staff(current_member().business_id, current_member().id)) as reading:
        row = command.find(reading, domain_id)
    try:
        holds = _binding().has_record_soon(row)
    except Pending:
        flash(_("DNS has not answered yet. Please check again in a few seconds."), "wait")
        return redirect(here("console.domains"), 303)
    except Unknown:
        flash(_("DNS did not answer. Please check again in a few minutes."), "wait")
        return redirect(here("console.domains"), 303)
    if holds:
        row = command.mark_verified(db(), domain_id)
        notify_owners(db(), "domain_changed", row.host)
        flash(_("%(host)s is verified. Your portal is available there.", host=row.host), "good")
    else:
        flash(_("The DNS record was not found. New records can take an hour to become visible."), "wait")
    return redirect(here("console.domains"), 303)


@bp.post("/<business_id>/domain/<domain_id>/removal")
@needs("domain.write")
@needs_fresh_proof
def remove_domain(domain_id: str) -> ResponseReturnValue:
    row = command.find(db(), domain_id)
    confirmation = unconfirmed(
        _("Remove %(host)s?", host=row.host),
        _("Remove %(host)s", host=row.host),
        here("console.domains"),
        _("Your portal is no longer available there, and customers who signed in there are signed out."),
        page="tenants/console/confirm.html",
    )
    if confirmation:
        return confirmation
    row = command.remove(db(), domain_id)
    notify_owners(db(), "domain_changed", row.host)
    flash(_("%(host)s is removed. Your portal is no longer available there.", host=row.host), "good")
    return redirect(here("console.domains"), 303)


def _binding() -> Binding:
    found: Binding = current_app.extensions["domains"]
    return found


def _page(typed: str = "", errors: dict[str, str] | None = None) -> str:
    rows = [(row, *_binding().record(row)) for row in command.of_business(db())]
    return render_template(
        "tenants/console/domains.html",
        rows=rows,
        typed=typed,
        errors=errors or {},
        base=here("console.domains"),
        may_write=current_member().may("domain.write"),
        target=services().settings.host.split(":")[0],
    )
