"""The business's own domain (`auth/domains/`): claimed, proved by DNS, given up."""

from __future__ import annotations

from flask import current_app, flash, redirect, render_template, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from auth.domains import binding as command
from auth.domains.binding import Binding
from auth.domains.dns import Unknown
from core.errands import Pending
from core.errors import Conflict, Invalid
from core.scope import staff
from core.web import db, here, house
from portal.confirming import unconfirmed
from tenants.console.door import bp, fresh, me, needs
from tenants.letters import tell_owners


@bp.get("/<business_id>/domain")
@needs("settings.read")
def domains() -> ResponseReturnValue:
    return _page()


@bp.post("/<business_id>/domain")
@needs("domain.write")
@fresh
def add_domain() -> ResponseReturnValue:
    typed = request.form.get("host", "")
    try:
        row = command.add(db(), house().settings, me().business_id, typed)
    except (Invalid, Conflict) as wrong:
        return _page(typed, {"host": _(wrong.fields.get("host") or wrong.sentence)}), wrong.status
    tell_owners(db(), "domain_changed", row.host)
    flash(_("Added. Now put the record into its DNS, and let us look."), "good")
    return redirect(here("console.domains"), 303)


@bp.post("/<business_id>/domain/<domain_id>/check")
@needs("domain.write")
@fresh
def check_domain(domain_id: str) -> ResponseReturnValue:
    """DNS is asked in another thread, and this page waits a moment at most: the business's name servers may never answer."""
    with house().database.open(staff(me().business_id, me().id)) as reading:
        row = command.find(reading, domain_id)
    try:
        holds = _binding().says_so_soon(row)
    except Pending:
        flash(_("DNS has not answered yet. Please check again in a few seconds."), "wait")
        return redirect(here("console.domains"), 303)
    except Unknown:
        flash(_("DNS did not answer. Please let us look again in a few minutes."), "wait")
        return redirect(here("console.domains"), 303)
    if holds:
        row = command.verified(db(), domain_id)
        tell_owners(db(), "domain_changed", row.host)
        flash(_("DNS says that %(host)s is yours. Your portal is served there.", host=row.host), "good")
    else:
        flash(_("The record is not there yet. New records can take an hour to be seen."), "wait")
    return redirect(here("console.domains"), 303)


@bp.post("/<business_id>/domain/<domain_id>/removal")
@needs("domain.write")
@fresh
def remove_domain(domain_id: str) -> ResponseReturnValue:
    row = command.find(db(), domain_id)
    asking = unconfirmed(_("Remove %(host)s?", host=row.host), _("Remove %(host)s", host=row.host), here("console.domains"),
                         _("Your portal is not served there any more, and customers who signed in there are signed out."),
                         page="tenants/console/confirm.html")
    if asking:
        return asking
    row = command.remove(db(), domain_id)
    tell_owners(db(), "domain_changed", row.host)
    flash(_("Your portal is not served at %(host)s any more.", host=row.host), "good")
    return redirect(here("console.domains"), 303)


def _binding() -> Binding:
    found: Binding = current_app.extensions["domains"]
    return found


def _page(typed: str = "", errors: dict[str, str] | None = None) -> str:
    rows = [(row, *_binding().record(row)) for row in command.of_business(db())]
    return render_template("tenants/console/domains.html", rows=rows, typed=typed, errors=errors or {}, base=here("console.domains"),
                           may_write=me().may("domain.write"), target=house().settings.host.split(":")[0])
