"""Collections: the plans a customer may change between, in the order in which they are offered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import flash, redirect, render_template, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from billing.commands import collection_items as places
from billing.commands import collections as command
from billing.commands.rules import CHOICES
from billing.queries import shelf
from core.errors import Invalid, NotFound
from core.web import db, here
from portal.words import interval
from tenants.console.door import bp, me, needs
from tenants.console.product_form import DESCRIPTION_LIMIT, Form
from tenants.console.rule_words import DEFAULTS, rule_choices


@bp.get("/<business_id>/collections")
@needs("products.read")
def collections() -> ResponseReturnValue:
    return render_template("tenants/console/collections.html", rows=shelf.collections(db()), base=here("console.collections"),
                           may_write=me().may("products.write"))


@bp.get("/<business_id>/collections/new")
@needs("products.write")
def new_collection() -> ResponseReturnValue:
    return _new({})


@bp.post("/<business_id>/collections/new")
@needs("products.write")
def create_collection() -> ResponseReturnValue:
    form, free = Form(request.form), shelf.homeless(db())
    name, description = _named(form)
    ticked = set(request.form.getlist("products"))
    chosen = [one.id for one in sorted(free, key=lambda one: (one.currency, one.price_minor)) if one.id in ticked]
    if not chosen:
        form.errors["products"] = _("Choose one plan or more.")
    if form.errors:
        return _new(request.form, form.errors), 422
    row = command.create_collection(db(), me().business_id, name=name, product_ids=chosen, description=description)
    flash(_("%(name)s is made, the cheapest plan first. Put them in your order here.", name=row.name), "good")
    return redirect(address_of(row.id), 303)


@bp.get("/<business_id>/collections/<collection_id>")
@needs("products.read")
def collection(collection_id: str) -> ResponseReturnValue:
    return collection_page(collection_id)


@bp.post("/<business_id>/collections/<collection_id>")
@needs("products.write")
def edit_collection(collection_id: str) -> ResponseReturnValue:
    """Name, description, and what plan changes within it do otherwise than the business's rules."""
    form = Form(request.form)
    name, description = _named(form)
    own = {one: form.choice(one, ("", *CHOICES[one])) or None for one in DEFAULTS}
    if form.errors:
        return collection_page(collection_id, request.form, form.errors), 422
    command.update_collection(db(), collection_id, name=name, description=description, **own)
    flash(_("Saved."), "good")
    return redirect(address_of(collection_id), 303)


@bp.post("/<business_id>/collections/<collection_id>/items")
@needs("products.write")
def add_to_collection(collection_id: str) -> ResponseReturnValue:
    """A plan that stands nowhere, or in this collection, goes to the end of a group; of the first, where there is no other to choose."""
    _row, parts = shelf.collection(db(), collection_id)
    chosen, group_id = request.form.get("product_id", ""), request.form.get("group_id", "")
    group = next((part.group for part in parts if group_id in ("", part.group.id)), None)
    if group is None:
        raise NotFound()
    command.load_collection(db(), collection_id)
    if held := next((one.item for part in parts for one in part.places if one.product.id == chosen), None):
        places.move_item(db(), held, group)
        flash(_("Put there, at the end."), "good")
    elif chosen in {one.id for one in shelf.homeless(db())}:
        places.add_items(db(), group, [(chosen, True)])
        flash(_("Added, at the end."), "good")
    else:
        return collection_page(collection_id, errors={"product_id": _("Choose a plan of the list.")}), 422
    return redirect(f"{address_of(collection_id)}#plans", 303)


@bp.post("/<business_id>/collections/<collection_id>/items/<item_id>/place")
@needs("products.write")
def move_in_collection(collection_id: str, item_id: str) -> ResponseReturnValue:
    """`to`: up or down, by one. At the end of the list nothing moves."""
    _row, parts = shelf.collection(db(), collection_id)
    part = next((part for part in parts if any(one.item.id == item_id for one in part.places)), None)
    if part is None:
        raise NotFound()
    order = [one.item.id for one in part.places]
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
    flash(_("Customers may change to it again.") if item.enabled else _("Nobody can change to it now. Who has it keeps it."), "good")
    return redirect(f"{address_of(collection_id)}#plans", 303)


@bp.post("/<business_id>/collections/<collection_id>/items/<item_id>/removal")
@needs("products.write")
def remove_from_collection(collection_id: str, item_id: str) -> ResponseReturnValue:
    try:
        places.remove_item(db(), collection_id, item_id)
    except Invalid:
        return collection_page(collection_id, errors={"plans": _("The last plan stays. Archive the collection instead.")}), 422
    flash(_("Taken out. It stays on sale by itself."), "good")
    return redirect(f"{address_of(collection_id)}#plans", 303)


@bp.post("/<business_id>/collections/<collection_id>/archive")
@needs("products.write")
def archive_collection(collection_id: str) -> ResponseReturnValue:
    row = command.archive_collection(db(), collection_id)
    flash(_("%(name)s is archived. Its plans stay on sale, but cannot be changed for one another.", name=row.name), "good")
    return redirect(address_of(collection_id), 303)


@bp.post("/<business_id>/collections/<collection_id>/return")
@needs("products.write")
def unarchive_collection(collection_id: str) -> ResponseReturnValue:
    row, _gone = command.unarchive_collection(db(), collection_id)
    flash(_("%(name)s is in use again.", name=row.name), "good")
    return redirect(address_of(collection_id), 303)


def _named(form: Form) -> tuple[str, str]:
    return form.text("name", 200, _("Give it a name of 1 to 200 characters.")), form.text("description", DESCRIPTION_LIMIT)


def address_of(collection_id: str) -> str:
    return f"{here('console.collections')}/{collection_id}"


def _new(typed: Mapping[str, Any], errors: dict[str, str] | None = None) -> str:
    return render_template("tenants/console/collection_new.html", typed=typed, errors=errors or {}, free=shelf.homeless(db()),
                           ticked=set(request.form.getlist("products")), base=here("console.collections"), interval=interval,
                           products_url=here("console.products"))


def collection_page(collection_id: str, typed: Mapping[str, Any] | None = None, errors: dict[str, str] | None = None) -> str:
    row, parts = shelf.collection(db(), collection_id)
    about = errors if typed is not None else {}
    named = {name: request.form.get(name, "") for name in errors or {}}
    if typed is None:
        typed = {"name": row.name, "description": row.description} | {one: getattr(row, one) or "" for one in DEFAULTS}
    return render_template(
        "tenants/console/collection.html", row=row, parts=parts, typed=typed, named=named, about=about, errors=errors or {},
        base=here("console.collections"),
        free=shelf.homeless(db()), interval=interval, products_url=here("console.products"), rules=rule_choices(),
        may_write=me().may("products.write") and row.archived_at is None, may_return=me().may("products.write"))
