"""The page of the link "send me no more of these" in emails about purchases that an address does not have."""

from __future__ import annotations

from flask import render_template, request
from flask.typing import ResponseReturnValue

from auth import doors, letters, tokens
from auth.views import bp
from core.security import token_page
from core.web import house


@bp.route("/login/never-again/<token>", methods=["GET", "POST"])
def never_again(token: str) -> ResponseReturnValue:
    token_page()
    doors.stand_at(None)
    address = tokens.unsign(house().settings, "never-again", token)
    if request.method == "POST" and isinstance(address, str):
        letters.never_again(house(), address)
        return render_template("auth/never_again.html", is_done=True)
    return render_template("auth/never_again.html", is_done=False, is_known=isinstance(address, str)), 200 if address else 404
