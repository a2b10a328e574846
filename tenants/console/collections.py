"""Collections: the plans that a customer can switch between, in the order in which they are offered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import flash, redirect, render_template, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from billing.catalogue import collection_items as places
from billing.catalogue import collections as command
from billing.catalogue import staff_queries
from billing.customers.portal_settings import CHOICES
from core.errors import Invalid, NotFound
from core.links import here
from core.request_context import db
from portal.phrases import interval
from tenants.console.access import bp, current_member, needs
from tenants.console.product_form import DESCRIPTION_LIMIT, Form
from tenants.console.setting_labels import DEFAULTS, rule_choices


@bp.get("/<business_id>/collections")
@needs("products.read")
def collections() -> ResponseReturnValue:
    return render_template(
        "tenants/console/collections.html",
        rows=staff_queries.collections(db()),
        base=here("console.collections"),
        may_write=current_member().may("products.write"),
    )


@bp.get("/<business_id>/collections/new")
@needs("products.write")
def new_collection() -> ResponseReturnValue:
    return _new({})


@bp.post("/<business_id>/collections/new")
@needs("products.write")
def create_collection() -> ResponseReturnValue:
    form, free = Form(request.form), staff_queries.products_without_collection(db())
    name, description = _named(form)
    ticked = set(request.form.getlist("products"))
    chosen = [item.id for item in sorted(free, key=lambda item: (item.currency, item.price_minor)) if item.id in ticked]
    if not chosen:
        form.errors["products"] = _("Choose at least one plan.")
    if form.errors:
        return _new(request.form, form.errors), 422
    row = command.create_collection(db(), current_member().business_id, name=name, product_ids=chosen, description=description)
    flash(_("%(name)s is created with the cheapest plan first. You can change the order here.", name=row.name), "good")
    return redirect(address_of(row.id), 303)


@bp.get("/<business_id>/collections/<collection_id>")
@needs("products.read")
def collection(collection_id: str) -> ResponseReturnValue:
    return collection_page(collection_id)


@bp.post("/<business_id>/collections/<collection_id>")
@needs("products.write")
def edit_collection(collection_id: str) -> ResponseReturnValue:
    """Change the name, the description and the plan-change rules that override those of the business."""
    form = Form(request.form)
    name, description = _named(form)
    own = {item: form.choice(item, ("", *CHOICES[item])) or None for item in DEFAULTS}
    if form.errors:
        return collection_page(collection_id, request.form, form.errors), 422
    command.update_collection(db(), collection_id, name=name, description=description, **own)
    flash(_("Saved."), "good")
    return redirect(address_of(collection_id), 303)


@bp.post("/<business_id>/collections/<collection_id>/items")
@needs("products.write")
def add_to_collection(collection_id: str) -> ResponseReturnValue:
    """Add a plan to the end of a group, or move it there from another group of this collection.

    Without `group_id`, the first group is used. A plan in another collection is refused.
    """
    _row, parts = staff_queries.collection(db(), collection_id)
    chosen, group_id = request.form.get("product_id", ""), request.form.get("group_id", "")
    group = next((part.group for part in parts if group_id in ("", part.group.id)), None)
    if group is None:
        raise NotFound()
    command.load_collection(db(), collection_id)
    if item := next((place.item for part in parts for place in part.places if place.product.id == chosen), None):
        places.move_item(db(), item, group)
        flash(_("Plan moved to the end of the group."), "good")
    elif chosen in {entry.id for entry in staff_queries.products_without_collection(db())}:
        places.add_items(db(), group, [(chosen, True)])
        flash(_("Plan added at the end."), "good")
    else:
        return collection_page(collection_id, errors={"product_id": _("Choose a plan from the list.")}), 422
    return redirect(f"{address_of(collection_id)}#plans", 303)


@bp.post("/<business_id>/collections/<collection_id>/items/<item_id>/position")
@needs("products.write")
def move_in_collection(collection_id: str, item_id: str) -> ResponseReturnValue:
    """Move a plan by one place, `to` up or down. At the end of the list nothing moves."""
    _row, parts = staff_queries.collection(db(), collection_id)
    part = next((part for part in parts if any(place.item.id == item_id for place in part.places)), None)
    if part is None:
        raise NotFound()
    order = [place.item.id for place in part.places]
    at = order.index(item_id)
    to = at + {"up": -1, "down": 1}.get(request.form.get("to", ""), 0)
    if 0 <= to < len(order) and to != at:
        order[at], order[to] = order[to], order[at]
        command.update_group(db(), collection_id, part.group.id, product_order=order)
    return redirect(f"{address_of(collection_id)}#plans", 303)


@bp.post("/<business_id>/collections/<collection_id>/items/<item_id>/offer")
@needs("products.write")
def offer_in_collection(collection_id: str, item_id: str) -> ResponseReturnValue:
    item = places.enable_item(db(), collection_id, item_id, request.form.get("offered") == "1")
    flash(
        _("Customers can switch to this plan again.")
        if item.enabled
        else _("Customers can no longer switch to this plan. Existing subscribers keep it."),
        "good",
    )
    return redirect(f"{address_of(collection_id)}#plans", 303)


@bp.post("/<business_id>/collections/<collection_id>/items/<item_id>/removal")
@needs("products.write")
def remove_from_collection(collection_id: str, item_id: str) -> ResponseReturnValue:
    try:
        places.remove_item(db(), collection_id, item_id)
    except Invalid:
        return collection_page(collection_id, errors={"plans": _("You cannot remove the last plan. Archive the collection instead.")}), 422
    flash(_("Plan removed from the collection. It stays on sale."), "good")
    return redirect(f"{address_of(collection_id)}#plans", 303)


@bp.post("/<business_id>/collections/<collection_id>/archive")
@needs("products.write")
def archive_collection(collection_id: str) -> ResponseReturnValue:
    row = command.archive_collection(db(), collection_id)
    flash(_("%(name)s is archived. Its plans stay on sale, but customers cannot switch between them.", name=row.name), "good")
    return redirect(address_of(collection_id), 303)


@bp.post("/<business_id>/collections/<collection_id>/return")
@needs("products.write")
def unarchive_collection(collection_id: str) -> ResponseReturnValue:
    row, _gone = command.unarchive_collection(db(), collection_id)
    flash(_("%(name)s is in use again.", name=row.name), "good")
    return redirect(address_of(collection_id), 303)


def _named(form: Form) -> tuple[str, str]:
    return form.text("name", 200, _("Enter a name of 1 to 200 characters.")), form.text("description", DESCRIPTION_LIMIT)


def address_of(collection_id: str) -> str:
    return f"{here('console.collections')}/{collection_id}"


def _new(typed: Mapping[str, Any], errors: dict[str, str] | None = None) -> str:
    return render_template(
        "tenants/console/collection_new.html",
        typed=typed,
        errors=errors or {},
        free=staff_queries.products_without_collection(db()),
        ticked=set(request.form.getlist("products")),
        base=here("console.collections"),
        interval=interval,
        products_url=here("console.products"),
    )


def collection_page(collection_id: str, typed: Mapping[str, Any] | None = None, errors: dict[str, str] | None = None) -> str:
    row, parts = staff_queries.collection(db(), collection_id)
    about = errors if typed is not None else {}
    named = {name: request.form.get(name, "") for name in errors or {}}
    if typed is None:
        typed = {"name": row.name, "description": row.description} | {item: getattr(row, item) or "" for item in DEFAULTS}
    return render_template(
        "tenants/console/collection.html",
        row=row,
        parts=parts,
        typed=typed,
        named=named,
        about=about,
        errors=errors or {},
        base=here("console.collections"),
        free=staff_queries.products_without_collection(db()),
        interval=interval,
        products_url=here("console.products"),
        rules=rule_choices(),
        may_write=current_member().may("products.write") and row.archived_at is None,
        may_return=current_member().may("products.write"),
    )
