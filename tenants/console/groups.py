"""The groups of a collection: plans that stand together under a name of their own, in the order in which they are offered."""

from __future__ import annotations

from flask import flash, redirect, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from billing.commands import collections as command
from billing.commands.collections import GroupWanted
from billing.queries import shelf
from core.errors import Invalid
from core.web import db
from tenants.console.collections import address_of, collection_page
from tenants.console.door import bp, needs
from tenants.console.product_form import Form


@bp.post("/<business_id>/collections/<collection_id>/groups")
@needs("products.write")
def add_group(collection_id: str) -> ResponseReturnValue:
    form = Form(request.form)
    name = form.text("group", 200, _("Give it a name of 1 to 200 characters."))
    if not form.errors:
        try:
            command.add_group(db(), collection_id, GroupWanted([], name))
        except Invalid:
            form.errors["group"] = _("There is a group of this name already.")
    if form.errors:
        return collection_page(collection_id, errors=form.errors), 422
    flash(_("%(name)s is made. Put plans into it.", name=name), "good")
    return redirect(f"{address_of(collection_id)}#plans", 303)


@bp.post("/<business_id>/collections/<collection_id>/groups/<group_id>")
@needs("products.write")
def rename_group(collection_id: str, group_id: str) -> ResponseReturnValue:
    field = f"group-{group_id}"
    form = Form(request.form)
    name = form.text(field, 200, _("Give it a name of 1 to 200 characters."))
    command.load_group(db(), collection_id, group_id)
    if not form.errors:
        try:
            command.update_group(db(), collection_id, group_id, name=name)
        except Invalid:
            form.errors[field] = _("There is a group of this name already.")
    if form.errors:
        return collection_page(collection_id, errors=form.errors), 422
    flash(_("Saved."), "good")
    return redirect(f"{address_of(collection_id)}#plans", 303)


@bp.post("/<business_id>/collections/<collection_id>/groups/<group_id>/place")
@needs("products.write")
def move_group(collection_id: str, group_id: str) -> ResponseReturnValue:
    """`to`: up or down, by one, with the plans in it. At the end of the list nothing moves."""
    command.load_group(db(), collection_id, group_id)
    order = [one.id for one in command.groups_of(db(), collection_id)]
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
    flash(_("Customers may change to its plans again.") if group.enabled
          else _("Nobody can change to its plans now. Who has one keeps it."), "good")
    return redirect(f"{address_of(collection_id)}#plans", 303)


@bp.post("/<business_id>/collections/<collection_id>/groups/<group_id>/removal")
@needs("products.write")
def remove_group(collection_id: str, group_id: str) -> ResponseReturnValue:
    """Of an empty one: no plan leaves a collection by the way."""
    group = command.load_group(db(), collection_id, group_id)
    _row, parts = shelf.collection(db(), collection_id)
    if next(part for part in parts if part.group.id == group_id).places:
        return collection_page(collection_id, errors={"plans": _("There are plans in it. Put them into another group first.")}), 422
    command.delete_group(db(), collection_id, group.id)
    flash(_("The group is gone."), "good")
    return redirect(f"{address_of(collection_id)}#plans", 303)
