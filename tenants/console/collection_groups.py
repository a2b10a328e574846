"""The groups of a collection: plans under a common name, in the order in which customers see them."""

from __future__ import annotations

from flask import flash, redirect, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from billing.catalogue import collections as command
from billing.catalogue import staff_queries
from billing.catalogue.collections import GroupWanted
from core.errors import Invalid
from core.request_context import db
from tenants.console.access import bp, needs
from tenants.console.collections import address_of, collection_page
from tenants.console.product_form import Form


@bp.post("/<business_id>/collections/<collection_id>/groups")
@needs("products.write")
def add_group(collection_id: str) -> ResponseReturnValue:
    form = Form(request.form)
    name = form.text("group", 200, _("Enter a name of 1 to 200 characters."))
    if not form.errors:
        try:
            command.add_group(db(), collection_id, GroupWanted([], name))
        except Invalid:
            form.errors["group"] = _("A group with this name already exists.")
    if form.errors:
        return collection_page(collection_id, errors=form.errors), 422
    flash(_("%(name)s is created. You can now add plans to it.", name=name), "good")
    return redirect(f"{address_of(collection_id)}#plans", 303)


@bp.post("/<business_id>/collections/<collection_id>/groups/<group_id>")
@needs("products.write")
def rename_group(collection_id: str, group_id: str) -> ResponseReturnValue:
    field = f"group-{group_id}"
    form = Form(request.form)
    name = form.text(field, 200, _("Enter a name of 1 to 200 characters."))
    command.load_group(db(), collection_id, group_id)
    if not form.errors:
        try:
            command.update_group(db(), collection_id, group_id, name=name)
        except Invalid:
            form.errors[field] = _("A group with this name already exists.")
    if form.errors:
        return collection_page(collection_id, errors=form.errors), 422
    flash(_("Saved."), "good")
    return redirect(f"{address_of(collection_id)}#plans", 303)


@bp.post("/<business_id>/collections/<collection_id>/groups/<group_id>/position")
@needs("products.write")
def move_group(collection_id: str, group_id: str) -> ResponseReturnValue:
    """Move a group with its plans by one place, `to` up or down. At the end of the list nothing moves."""
    command.load_group(db(), collection_id, group_id)
    order = [item.id for item in command.groups_of(db(), collection_id)]
    at = order.index(group_id)
    to = at + {"up": -1, "down": 1}.get(request.form.get("to", ""), 0)
    if 0 <= to < len(order) and to != at:
        order[at], order[to] = order[to], order[at]
        command.update_collection(db(), collection_id, group_order=order)
    return redirect(f"{address_of(collection_id)}#plans", 303)


@bp.post("/<business_id>/collections/<collection_id>/groups/<group_id>/offer")
@needs("products.write")
def offer_group(collection_id: str, group_id: str) -> ResponseReturnValue:
    group = command.update_group(db(), collection_id, group_id, enabled=request.form.get("offered") == "1")
    flash(
        _("Customers can switch to the plans of this group again.")
        if group.enabled
        else _("Customers can no longer switch to the plans of this group. Existing subscribers keep their plan."),
        "good",
    )
    return redirect(f"{address_of(collection_id)}#plans", 303)


@bp.post("/<business_id>/collections/<collection_id>/groups/<group_id>/removal")
@needs("products.write")
def remove_group(collection_id: str, group_id: str) -> ResponseReturnValue:
    """Remove an empty group. A group with plans is refused, so that no plan leaves the collection by accident."""
    group = command.load_group(db(), collection_id, group_id)
    _row, parts = staff_queries.collection(db(), collection_id)
    if next(part for part in parts if part.group.id == group_id).places:
        return collection_page(collection_id, errors={"plans": _("This group contains plans. Move them to another group first.")}), 422
    command.delete_group(db(), collection_id, group.id)
    flash(_("Group removed."), "good")
    return redirect(f"{address_of(collection_id)}#plans", 303)
