"""Add-ons that can be bought with a plan. A plan that lists none allows all add-ons in its currency."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import flash, redirect, render_template, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from billing.catalogue import addons as command
from billing.catalogue import staff_queries
from billing.model.catalogue import Addon
from core.links import here
from core.request_context import db
from tenants.console import product_form
from tenants.console.access import bp, current_member, needs


@bp.get("/<business_id>/addons/new")
@needs("products.write")
def new_addon() -> ResponseReturnValue:
    return _page({"currency": current_member().currency})


@bp.post("/<business_id>/addons/new")
@needs("products.write")
def create_addon() -> ResponseReturnValue:
    form = product_form.Form(request.form)
    currency = form.currency()
    made = _read(form, currency)
    if form.errors:
        return _page(request.form, form.errors), 422
    row = command.create_addon(
        db(),
        current_member().business_id,
        name=made["name"],
        currency=currency,
        price=made["price_minor"],
        tax_category=made["tax_category"],
        description=made["description"],
    )
    flash(_("%(name)s can now be bought with plans.", name=row.name), "good")
    return redirect(_of(row.id), 303)


@bp.get("/<business_id>/addons/<addon_id>")
@needs("products.read")
def addon(addon_id: str) -> ResponseReturnValue:
    row = staff_queries.addon(db(), addon_id)
    return _page(product_form.typed_of_addon(row), row=row)


@bp.post("/<business_id>/addons/<addon_id>")
@needs("products.write")
def edit_addon(addon_id: str) -> ResponseReturnValue:
    row = staff_queries.addon(db(), addon_id)
    form = product_form.Form(request.form)
    made = _read(form, row.currency)
    if form.errors:
        return _page(request.form, form.errors, row), 422
    command.update_addon(db(), row.id, **made)
    flash(_("Saved. Existing subscribers keep their price."), "good")
    return redirect(_of(row.id), 303)


@bp.post("/<business_id>/addons/<addon_id>/archive")
@needs("products.write")
def archive_addon(addon_id: str) -> ResponseReturnValue:
    row = command.archive_addon(db(), addon_id)
    flash(_("%(name)s is no longer on sale. Existing customers keep it.", name=row.name), "good")
    return redirect(_of(row.id), 303)


@bp.post("/<business_id>/addons/<addon_id>/return")
@needs("products.write")
def unarchive_addon(addon_id: str) -> ResponseReturnValue:
    row = command.unarchive_addon(db(), addon_id)
    flash(_("%(name)s is on sale again.", name=row.name), "good")
    return redirect(_of(row.id), 303)


def _read(form: product_form.Form, currency: str) -> dict[str, Any]:
    return {
        "name": form.text("name", 200, _("Enter a name of 1 to 200 characters.")),
        "price_minor": form.amount("amount", currency),
        "description": form.text("description", product_form.DESCRIPTION_LIMIT),
        "tax_category": form.choice("tax_category", product_form.TAX),
    }


def _of(addon_id: str) -> str:
    return f"{here('console.home')}/addons/{addon_id}"


def _page(typed: Mapping[str, Any], errors: dict[str, str] | None = None, row: Addon | None = None) -> str:
    return render_template(
        "tenants/console/addon.html",
        typed=typed,
        errors=errors or {},
        row=row,
        products_url=here("console.products"),
        base=f"{here('console.home')}/addons",
        may_write=current_member().may("products.write"),
        **product_form.choices(),
    )
