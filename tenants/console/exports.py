"""The customer list as a CSV file: requested here, written by the worker, downloaded from its own page."""

from __future__ import annotations

from flask import Response, redirect, render_template, request, send_file
from flask.typing import ResponseReturnValue

from core.links import here
from core.request_context import db, services
from tenants import exports
from tenants.console.access import bp, current_member, needs


@bp.post("/<business_id>/sales/customers/exports")
@needs("customers.export")
def request_export() -> ResponseReturnValue:
    exports.spend(services().database, current_member().id)
    row = exports.request_export(db(), current_member().business_id, " ".join(request.form.get("q", "").split()), by=current_member().id)
    return redirect(f"{here('console.customers')}/exports/{row.id}", 303)


@bp.get("/<business_id>/sales/customers/exports/<export_id>")
@needs("customers.export")
def export(export_id: str) -> ResponseReturnValue:
    """Show the state of the export. The page refreshes every three seconds until the file is ready."""
    row = exports.find(db(), export_id)
    page = Response(
        render_template("tenants/console/export.html", job=row, base=here("console.customers"), asked_by=exports.requested_by(db(), row))
    )
    if row.finished_at is None:
        page.headers["Refresh"] = "3"
    return page


@bp.get("/<business_id>/sales/customers/exports/<export_id>/customers.csv")
@needs("customers.export")
def export_file(export_id: str) -> ResponseReturnValue:
    answer = send_file(exports.file_of(db(), export_id), mimetype="text/csv", as_attachment=True, download_name="customers.csv")
    answer.headers["Cache-Control"] = "private, no-store"
    return answer
