"""Blocking and unblocking a customer. Both can be undone, so neither asks for confirmation."""

from __future__ import annotations

from flask import flash, redirect
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from billing.customers.blocking import block, unblock
from core.links import here
from core.request_context import db
from tenants.console.access import bp, needs


@bp.post("/<business_id>/sales/customers/<customer_id>/block")
@needs("customers.write")
def block_customer(customer_id: str) -> ResponseReturnValue:
    row = block(db(), customer_id)
    flash(_("%(name)s is blocked and cannot buy anything or change a plan.", name=row.name), "good")
    return redirect(f"{here('console.customers')}/{customer_id}", 303)


@bp.post("/<business_id>/sales/customers/<customer_id>/block/removal")
@needs("customers.write")
def unblock_customer(customer_id: str) -> ResponseReturnValue:
    row = unblock(db(), customer_id)
    flash(_("%(name)s can buy again.", name=row.name), "good")
    return redirect(f"{here('console.customers')}/{customer_id}", 303)
