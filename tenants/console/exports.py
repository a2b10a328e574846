"""The list of customers as a CSV file: asked for here, written by the worker, watched and fetched on its own page."""

from __future__ import annotations

from flask import Response, redirect, render_template, request, send_file
from flask.typing import ResponseReturnValue

from core.web import db, here, house
from tenants import exports
from tenants.console.door import bp, me, needs


@bp.post("/<business_id>/sales/customers/exports")
@needs("customers.export")
def ask_export() -> ResponseReturnValue:
    exports.spend(house().database, me().id)
    row = exports.ask(db(), me().business_id, " ".join(request.form.get("q", "").split()), by=me().id)
    return redirect(f"{here('console.customers')}/exports/{row.id}", 303)


@bp.get("/<business_id>/sales/customers/exports/<export_id>")
@needs("customers.export")
def export(export_id: str) -> ResponseReturnValue:
    """Looks again by itself every few seconds until the file is there."""
    row = exports.one(db(), export_id)
    page = Response(render_template("tenants/console/export.html", job=row, base=here("console.customers"),
                                    asked_by=exports.asked_by(db(), row)))
    if row.finished_at is None:
        page.headers["Refresh"] = "3"
    return page


@bp.get("/<business_id>/sales/customers/exports/<export_id>/customers.csv")
@needs("customers.export")
def export_file(export_id: str) -> ResponseReturnValue:
    answer = send_file(exports.file_of(db(), export_id), mimetype="text/csv", as_attachment=True,
                       download_name="customers.csv")
    answer.headers["Cache-Control"] = "private, no-store"
    return answer
