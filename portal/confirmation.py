"""A confirmation page for actions that cannot be undone. It repeats the submitted form and works without JavaScript.

A view calls `unconfirmed` after it has loaded the row and before it changes anything. Unknown ids therefore still give 404.
"""

from __future__ import annotations

from flask import render_template, request
from flask_babel import gettext as _

YES = "yes"


def unconfirmed(title: str, button: str, back: str, *consequences: str, page: str = "portal/confirm.html") -> str:
    """Return the confirmation page, or an empty string if the form was confirmed. `consequences`: one sentence each."""
    if request.form.get("confirmed") == YES:
        return ""
    fields = [(name, value) for name, value in request.form.items(multi=True) if name not in ("csrf_token", "confirmed")]
    return render_template(
        page, title=title, button=button, back=back, says=[*consequences, _("This cannot be undone.")], kept=fields, action=request.path
    )
