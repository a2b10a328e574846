"""Products: listed, made, edited, archived and sold again. What was sold keeps the price it was sold at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import flash, redirect, render_template, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from billing.catalogue import Product
from billing.commands import products as command
from billing.queries import shelf
from core.pages import words
from core.web import db, here
from portal.words import interval
from tenants.console import product_form
from tenants.console.door import bp, me, needs
from tenants.console.lists import asked


@bp.get("/<business_id>/products")
@needs("products.read")
def products() -> ResponseReturnValue:
    wanted, base = asked(("archived",)), here("console.products")
    found = shelf.products(db(replica=True), wanted.status == "archived", wanted.before)
    rows, newest, older = wanted.cut(base, found, lambda one: (one.created_at, one.id))
    return render_template(
        "tenants/console/products.html", rows=rows, newest=newest, older=older, asked=wanted, base=base, interval=interval,
        addons=shelf.addons(db(), archived=wanted.status == "archived") if not wanted.before else [],
        addons_url=f"{here('console.home')}/addons", may_write=me().may("products.write"))


@bp.get("/<business_id>/products/new")
@needs("products.write")
def new_product() -> ResponseReturnValue:
    return _form({"currency": me().currency, "kind": "recurring_price", "interval": "Month", "interval_count": "1"})


@bp.post("/<business_id>/products/new")
@needs("products.write")
def create_product() -> ResponseReturnValue:
    form = product_form.Form(request.form)
    made = product_form.of_product(form)
    if form.errors:
        return _form(request.form, form.errors), 422
    row = command.create_product(
        db(), me().business_id, name=made["name"], price=made["price"], tax_category=made["tax_category"], description=made["description"],
        addons=_chosen_addons(made["price"]["currency"]), license_key_enabled=made["license_key_enabled"],
        license_key_activations_limit=made["limit"], license_key_duration=made["duration"], license_key_activation_message=made["message"])
    flash(_("%(name)s is on sale. Its id is %(id)s.", name=row.name, id=row.id), "good")
    return redirect(f"{here('console.products')}/{row.id}", 303)


@bp.get("/<business_id>/products/<product_id>")
@needs("products.read")
def product(product_id: str) -> ResponseReturnValue:
    row = shelf.product(db(), product_id)
    return _form(product_form.typed_of(row), row=row)


@bp.post("/<business_id>/products/<product_id>")
@needs("products.write")
def edit_product(product_id: str) -> ResponseReturnValue:
    row = shelf.product(db(), product_id)
    form = product_form.Form(request.form)
    made = product_form.of_product(form, row)
    if form.errors:
        return _form(request.form, form.errors, row), 422
    was = row.price_minor
    command.update_product(
        db(), row.id, price=made["price"], name=made["name"], description=made["description"], tax_category=made["tax_category"],
        addons=_chosen_addons(row.currency), license_key_enabled=made["license_key_enabled"], license_key_limit=made["limit"],
        license_key_duration=made["duration"], license_key_message=made["message"])
    if row.price_minor != was:
        flash(_("Saved. It costs %(price)s from now on; who has it keeps the price agreed.",
                price=words().money(row.price_minor, row.currency)), "good")
    else:
        flash(_("Saved."), "good")
    return redirect(f"{here('console.products')}/{row.id}", 303)


@bp.post("/<business_id>/products/<product_id>/archive")
@needs("products.write")
def archive_product(product_id: str) -> ResponseReturnValue:
    row = command.archive_product(db(), product_id)
    flash(_("%(name)s is not sold any more. Who has it keeps it.", name=row.name), "good")
    return redirect(f"{here('console.products')}/{row.id}", 303)


@bp.post("/<business_id>/products/<product_id>/return")
@needs("products.write")
def unarchive_product(product_id: str) -> ResponseReturnValue:
    row = command.unarchive_product(db(), product_id)
    flash(_("%(name)s is on sale again.", name=row.name), "good")
    return redirect(f"{here('console.products')}/{row.id}", 303)


def _chosen_addons(currency: str) -> list[str]:
    """The ticked add-ons that are priced in the product's currency."""
    ticked = set(request.form.getlist("addons"))
    return [one.id for one in shelf.addons(db()) if one.id in ticked and one.currency == currency]


def _form(typed: Mapping[str, Any], errors: dict[str, str] | None = None, row: Product | None = None) -> str:
    ticked = set(request.form.getlist("addons")) if request.method == "POST" else set(row.addons if row else ())
    return render_template(
        "tenants/console/product.html", typed=typed, errors=errors or {}, row=row, base=here("console.products"), interval=interval,
        addons=[one for one in shelf.addons(db()) if not one.archived_at or one.id in ticked], ticked=ticked,
        collection=shelf.collection_named(db(), row.id) if row else None, collections_url=here("console.collections"),
        may_write=me().may("products.write"), addons_url=f"{here('console.home')}/addons", **product_form.choices())
