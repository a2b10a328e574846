"""The page of the "Stop these emails" link in emails to addresses without purchases."""

from __future__ import annotations

from flask import render_template, request
from flask.typing import ResponseReturnValue

from auth import email_opt_out, sign_in_context, tokens
from auth.sign_in_views import bp
from core.request_context import services
from core.security import token_page


@bp.route("/login/email-opt-out/<token>", methods=["GET", "POST"])
def opt_out_page(token: str) -> ResponseReturnValue:
    token_page()
    sign_in_context.require_sign_in_context(None)
    address = tokens.unsign(services().settings, "never-again", token)
    if request.method == "POST" and isinstance(address, str):
        email_opt_out.opt_out(services().database, address)
        return render_template("auth/unsubscribe.html", is_done=True)
    return render_template("auth/unsubscribe.html", is_done=False, is_known=isinstance(address, str)), 200 if address else 404
