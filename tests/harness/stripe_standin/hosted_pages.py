"""Pages of Stripe Billing where a customer pays an invoice or enters another card."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import Flask, Response, redirect, request

from tests.harness.stripe_standin.billing import Merchant

if TYPE_CHECKING:
    from tests.harness.stripe_standin.server import StandIn


def register(app: Flask, stand_in: StandIn) -> None:
    @app.route("/i/<number>", methods=["GET", "POST"])
    def hosted_invoice(number: str) -> Any:
        """The page of an invoice. Like Stripe's, it does not lead back."""
        account, invoice = stand_in.invoice_of(f"/i/{number}")
        if request.method == "POST":
            with stand_in.lock:
                Merchant(account).pay_with(invoice, request.form["number"].replace(" ", ""))
        if invoice["status"] != "open":
            return html(f"<p>Invoice {invoice['status']}</p>")
        return html(f'<p>{invoice["number"]}: {invoice["amount_remaining"]}</p><form method="post">'
                     '<label>Card number <input name="number" autocomplete="cc-number"></label>'
                     "<button>Pay invoice</button></form>")  # fmt: skip

    @app.route("/p/session/<session>", methods=["GET", "POST"])
    def portal_session(session: str) -> Any:
        """The page of Stripe's customer portal for another card."""
        account = stand_in.account_of(session)
        found = account.get(session, "billing_portal.session")
        if request.method == "POST":
            with stand_in.lock:
                Merchant(account).give_card(account.objects[found["customer"]], request.form["number"].replace(" ", ""))
            return redirect(found["return_url"], 303)
        return html('<form method="post"><label>Card number <input name="number" autocomplete="cc-number"></label>'
                     "<button>Update card</button></form>")  # fmt: skip


def html(body: str) -> Response:
    return Response(f"<!doctype html><html lang=en><title>Stripe stand-in</title><main><h1>Stripe stand-in</h1>{body}</main>")
