"""Asking once more before something that cannot be undone: the same form again, with what happens and a button that names it.

Works without JavaScript. A view calls `unconfirmed` after it loaded the row, so that a stranger's id is not found as before, and before
it changes anything.
"""

from __future__ import annotations

from flask import render_template, request
from flask_babel import gettext as _

YES = "yes"


def unconfirmed(title: str, button: str, back: str, *says: str, page: str = "portal/confirm.html") -> str:
    """The page that asks, or an empty text when the form was confirmed. `says`: what happens, one sentence each."""
    if request.form.get("confirmed") == YES:
        return ""
    kept = [(name, value) for name, value in request.form.items(multi=True) if name not in ("csrf_token", "confirmed")]
    return render_template(page, title=title, button=button, back=back, says=[*says, _("This cannot be undone.")], kept=kept,
                           action=request.path)
