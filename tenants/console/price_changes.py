"""A new price for the existing subscribers of a product: preview, order, progress and stop."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from zoneinfo import ZoneInfo

from flask import flash, redirect, render_template, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from billing.catalogue import staff_queries
from billing.customers.portal_settings import the_business
from billing.model.catalogue import Product
from billing.price_changes import order as command
from billing.price_changes.order import NewPrice, PriceChangePreview
from core import clock
from core.amount_input import write_amount
from core.errors import Invalid, NotFound
from core.links import here
from core.request_context import db
from core.template_context import formatter
from portal.phrases import interval
from tenants.console.access import bp, current_member, needs
from tenants.console.product_form import Form


@bp.get("/<business_id>/products/<product_id>/price-changes")
@needs("products.read")
def price_changes(product_id: str) -> ResponseReturnValue:
    row = _product(product_id)
    day = (clock.now() + dt.timedelta(days=30)).date().isoformat()
    typed = {"amount": write_amount(row.price_minor, row.currency, formatter().locale), "date": day, "direction": "raise"}
    return _page(row, typed)


@bp.post("/<business_id>/products/<product_id>/price-changes")
@needs("products.write")
def order_price_change(product_id: str) -> ResponseReturnValue:
    """`step` preview shows what the change would do; order orders exactly that."""
    row, form = _product(product_id), Form(request.form)
    amount = form.amount("amount", row.currency)
    wanted = NewPrice(amount, _start_of(form, "date"), "lower" if request.form.get("direction") == "lower" else "raise")
    if form.errors:
        return _page(row, request.form, form.errors), 422
    try:
        if request.form.get("step") != "order":
            return _page(row, request.form, seen=command.preview(db(), row.id, wanted), wanted=wanted)
        command.order(db(), row.id, wanted)
    except Invalid as wrong:
        names = {"effective_at": "date"}
        return _page(row, request.form, {names.get(name, name): _(sentence) for name, sentence in wrong.fields.items()}), 422
    flash(_("The new price is ordered. Subscribers are told as early as the law of their country asks."), "good")
    return redirect(_base(row.id), 303)


@bp.post("/<business_id>/products/<product_id>/price-changes/<price_change_id>/stop")
@needs("products.write")
def stop_price_change(product_id: str, price_change_id: str) -> ResponseReturnValue:
    if command.progress_of(db(), price_change_id).change.product_id != product_id:
        raise NotFound()
    command.stop(db(), price_change_id)
    flash(_("The price change is stopped. Those who were told of it get an email that their price stays."), "good")
    return redirect(_base(product_id), 303)


def reason_labels() -> dict[str, str]:
    """Reason why a subscription is left out → its label."""
    return {
        "waiting": _("Paused or not paid: they follow once they are active"),
        "external": _("Billed by another system"),
        "cancelling": _("Ends at the end of the period"),
        "plan_change": _("A plan change is scheduled, at the price that was shown"),
        "other_change": _("An earlier price change is not done yet"),
        "currency": _("Another currency"),
        "price": _("Their price would not change"),
    }


def _product(product_id: str) -> Product:
    """Return a recurring product. Raises NotFound, also for other products: they have no subscribers."""
    row = staff_queries.product(db(), product_id)
    if row.price_type != "recurring_price":
        raise NotFound()
    return row


def _start_of(form: Form, name: str) -> dt.datetime:
    """Return the start of the typed day in the time zone of the business."""
    try:
        day = dt.date.fromisoformat((form.typed.get(name) or "").strip())
        return dt.datetime.combine(day, dt.time(), ZoneInfo(the_business(db()).zone)).astimezone(dt.UTC)
    except (ValueError, OverflowError):
        form.errors[name] = _("Enter a date, such as 2027-06-01.")
        return clock.now()


def _base(product_id: str) -> str:
    return f"{here('console.products')}/{product_id}/price-changes"


def _page(
    row: Product,
    typed: Mapping[str, str],
    errors: dict[str, str] | None = None,
    *,
    seen: PriceChangePreview | None = None,
    wanted: NewPrice | None = None,
) -> str:
    return render_template(
        "tenants/console/price_changes.html",
        row=row,
        typed=typed,
        errors=errors or {},
        seen=seen,
        wanted=wanted,
        reasons=reason_labels(),
        changes=command.progress(db(), row.id),
        interval=interval(row.interval or "Month", row.interval_count),
        products_url=here("console.products"),
        base=_base(row.id),
        may_write=current_member().may("products.write"),
    )
