"""Saved cards and accounts: what each pays for, and when it runs out."""

from __future__ import annotations

from flask import render_template
from flask.typing import ResponseReturnValue

from billing.queries import methods as query
from core.web import db, exists_here
from portal import bp
from portal.standing import businesses, is_several
from portal.words import card, expires, is_soon


@bp.get("/payment-methods")
def payment_methods() -> ResponseReturnValue:
    rows = query.methods(db(replica=True))
    soon = [row for row in rows if row.pays_for and is_soon(row.expiry_month, row.expiry_year)]
    return render_template("portal/payment_methods.html", rows=rows, soon=soon, businesses=businesses(), several=is_several(), card=card,
                           expires=expires, is_soon=is_soon, may_remove=exists_here("remove_payment_method"))
