"""Products: list, create, edit, archive and restore. Existing subscriptions keep their price."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import flash, redirect, render_template, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from billing.catalogue import products as command
from billing.catalogue import staff_queries
from billing.customers.portal_settings import the_business
from billing.model.catalogue import Product
from billing.pricing.tax_setup import setup_of
from core.links import here
from core.request_context import db
from core.template_context import formatter
from portal.phrases import interval
from tenants.console import product_form
from tenants.console.access import bp, current_member, needs
from tenants.console.lists import list_query


@bp.get("/<business_id>/products")
@needs("products.read")
def products() -> ResponseReturnValue:
    wanted, base = list_query(("archived",)), here("console.products")
    found = staff_queries.products(db(replica=True), wanted.status == "archived", wanted.before)
    rows, newest, older = wanted.cut(base, found, lambda item: (item.created_at, item.id))
    return render_template(
        "tenants/console/products.html",
        rows=rows,
        newest=newest,
        older=older,
        query=wanted,
        base=base,
        interval=interval,
        addons=staff_queries.addons(db(), archived=wanted.status == "archived") if not wanted.before else [],
        addons_url=f"{here('console.home')}/addons",
        may_write=current_member().may("products.write"),
    )


@bp.get("/<business_id>/products/new")
@needs("products.write")
def new_product() -> ResponseReturnValue:
    setup = setup_of(the_business(db()))
    usual = {"tax_category": setup.get("category") or "", "tax_inclusive": "1" if setup.get("prices_include_tax") else ""}
    return _form({"currency": current_member().currency, "kind": "recurring_price", "interval": "Month", "interval_count": "1", **usual})


@bp.post("/<business_id>/products/new")
@needs("products.write")
def create_product() -> ResponseReturnValue:
    form = product_form.Form(request.form)
    made = product_form.of_product(form)
    if form.errors:
        return _form(request.form, form.errors), 422
    row = command.create_product(
        db(),
        current_member().business_id,
        name=made["name"],
        price=made["price"],
        tax_category=made["tax_category"],
        description=made["description"],
        addons=_chosen_addons(made["price"]["currency"]),
        license_key_enabled=made["license_key_enabled"],
        license_key_activations_limit=made["limit"],
        license_key_duration=made["duration"],
        license_key_activation_message=made["message"],
    )
    flash(_("“%(name)s” is on sale. Its ID is %(id)s.", name=row.name, id=row.id), "good")
    return redirect(f"{here('console.products')}/{row.id}", 303)


@bp.get("/<business_id>/products/<product_id>")
@needs("products.read")
def product(product_id: str) -> ResponseReturnValue:
    row = staff_queries.product(db(), product_id)
    return _form(product_form.typed_of(row), row=row)


@bp.post("/<business_id>/products/<product_id>")
@needs("products.write")
def edit_product(product_id: str) -> ResponseReturnValue:
    row = staff_queries.product(db(), product_id)
    form = product_form.Form(request.form)
    made = product_form.of_product(form, row)
    if form.errors:
        return _form(request.form, form.errors, row), 422
    was = row.price_minor
    command.update_product(
        db(),
        row.id,
        price=made["price"],
        name=made["name"],
        description=made["description"],
        tax_category=made["tax_category"],
        addons=_chosen_addons(row.currency),
        license_key_enabled=made["license_key_enabled"],
        license_key_limit=made["limit"],
        license_key_duration=made["duration"],
        license_key_message=made["message"],
        successor_id=made["successor_id"],
    )
    if row.price_minor != was:
        flash(
            _(
                "Saved. The new price is %(price)s. Existing subscribers keep their price.",
                price=formatter().money(row.price_minor, row.currency),
            ),
            "good",
        )
    else:
        flash(_("Saved."), "good")
    return redirect(f"{here('console.products')}/{row.id}", 303)


@bp.post("/<business_id>/products/<product_id>/archive")
@needs("products.write")
def archive_product(product_id: str) -> ResponseReturnValue:
    row = command.archive_product(db(), product_id)
    flash(_("%(name)s is no longer on sale. Existing customers keep it.", name=row.name), "good")
    return redirect(f"{here('console.products')}/{row.id}", 303)


@bp.post("/<business_id>/products/<product_id>/return")
@needs("products.write")
def unarchive_product(product_id: str) -> ResponseReturnValue:
    row = command.unarchive_product(db(), product_id)
    flash(_("%(name)s is on sale again.", name=row.name), "good")
    return redirect(f"{here('console.products')}/{row.id}", 303)


def _chosen_addons(currency: str) -> list[str]:
    """Return the selected add-ons that are priced in the product's currency."""
    ticked = set(request.form.getlist("addons"))
    return [addon.id for addon in staff_queries.addons(db()) if addon.id in ticked and addon.currency == currency]


def _successors(row: Product) -> list[tuple[str, str]]:
    """Return the recurring products that may be sold instead of this one; the first choice is none."""
    found = [(item.id, item.name) for item in staff_queries.successors(db(), row)]
    return [("", _("No product")), *found]


def _form(typed: Mapping[str, Any], errors: dict[str, str] | None = None, row: Product | None = None) -> str:
    ticked = set(request.form.getlist("addons")) if request.method == "POST" else set(row.addons if row else ())
    return render_template(
        "tenants/console/product.html",
        typed=typed,
        errors=errors or {},
        row=row,
        base=here("console.products"),
        interval=interval,
        addons=[addon for addon in staff_queries.addons(db()) if not addon.archived_at or addon.id in ticked],
        ticked=ticked,
        successors=_successors(row) if row and row.is_recurring else [],
        collection=staff_queries.collection_of(db(), row.id) if row else None,
        collections_url=here("console.collections"),
        may_write=current_member().may("products.write"),
        addons_url=f"{here('console.home')}/addons",
        **product_form.choices(),
    )
