"""`/mailbox` (test mode only): shows emails as recipients see them. Available on a loopback deployment or with an operator secret."""

from __future__ import annotations

import base64
import re

from flask import Blueprint, Flask, Response, render_template, request
from markupsafe import Markup, escape

from core import mailbox
from core.errors import NotFound
from core.operator_access import is_operator
from core.request_context import Door, enter, services

pages = Blueprint("mailbox", __name__, url_prefix="/mailbox")
_URL = re.compile(r"https?://[^\s<>\"']+[^\s<>\"'.,;:!?)]")
# the framed email: inline styles only, links open outside the frame, nothing is fetched or run
_EMAIL_CSP = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'self'; sandbox allow-popups allow-popups-to-escape-sandbox allow-top-navigation-by-user-activation"
)


def init(app: Flask) -> None:
    app.register_blueprint(pages)


@pages.before_request
def require_operator() -> None:
    if not is_operator():
        raise NotFound()
    enter(Door(kind="auth", title=services().settings.name))


@pages.get("")
def index() -> str:
    to = request.args.get("to", "").strip()
    return render_template("mailbox/index.html", emails=mailbox.recent_emails(services().database, to), to=to)


@pages.get("/<id>")
def message(id: str) -> str:
    found = _found(id)
    return render_template("mailbox/email.html", message=found, text=linked(found.text))


@pages.get("/<id>/html")
def html(id: str) -> Response:
    # links must leave the frame, because our pages refuse to be framed
    body = _found(id).html.replace("<head>", '<head><base target="_top">', 1)
    answer = Response(body, mimetype="text/html")
    answer.headers["Content-Security-Policy"] = _EMAIL_CSP
    return answer


@pages.get("/<id>/attachments/<int:number>")
def attachment(id: str, number: int) -> Response:
    attachments = _found(id).attachments
    if number >= len(attachments):
        raise NotFound()
    item = attachments[number]
    answer = Response(base64.b64decode(item["data"]), mimetype=item["content_type"])
    answer.headers.set("Content-Disposition", "attachment", filename=item["filename"])
    return answer


def linked(text: str) -> Markup:
    """Return the text as HTML with its URLs as links and everything else escaped."""
    out, at = [], 0
    for found in _URL.finditer(text):
        out.append(escape(text[at : found.start()]))
        out.append(Markup('<a href="{0}" rel="noreferrer">{0}</a>').format(found[0]))
        at = found.end()
    return Markup("").join([*out, escape(text[at:])])


def _found(id: str) -> mailbox.MailboxEmail:
    found = mailbox.find_email(services().database, id)
    if found is None:
        raise NotFound()
    return found
