"""`/mailbox`, test mode only: the letters as their readers see them. Answers on a loopback deployment, or to an operator secret."""

from __future__ import annotations

import base64
import re

from flask import Blueprint, Flask, Response, render_template, request
from markupsafe import Markup, escape

from core import mailbox
from core.errors import NotFound
from core.web import Door, enter, house, is_operator

pages = Blueprint("mailbox", __name__, url_prefix="/mailbox")
_URL = re.compile(r"https?://[^\s<>\"']+[^\s<>\"'.,;:!?)]")
# a letter's own page: its styles are inline, its links open outside of the frame, nothing is fetched and nothing runs
_LETTER_CSP = ("default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; "
               "frame-ancestors 'self'; sandbox allow-popups allow-popups-to-escape-sandbox allow-top-navigation-by-user-activation")


def init(app: Flask) -> None:
    app.register_blueprint(pages)


@pages.before_request
def only_here() -> None:
    if not is_operator():
        raise NotFound()
    enter(Door(kind="auth", title=house().settings.name))


@pages.get("")
def index() -> str:
    to = request.args.get("to", "").strip()
    return render_template("mailbox/index.html", letters=mailbox.letters(house().database, to), to=to)


@pages.get("/<id>")
def letter(id: str) -> str:
    found = _found(id)
    return render_template("mailbox/letter.html", letter=found, text=linked(found.text))


@pages.get("/<id>/html")
def html(id: str) -> Response:
    # links of the letter leave the frame: a page of ours refuses to be framed
    body = _found(id).html.replace("<head>", '<head><base target="_top">', 1)
    answer = Response(body, mimetype="text/html")
    answer.headers["Content-Security-Policy"] = _LETTER_CSP
    return answer


@pages.get("/<id>/attachments/<int:number>")
def attachment(id: str, number: int) -> Response:
    kept = _found(id).attachments
    if number >= len(kept):
        raise NotFound()
    one = kept[number]
    answer = Response(base64.b64decode(one["data"]), mimetype=one["content_type"])
    answer.headers.set("Content-Disposition", "attachment", filename=one["filename"])
    return answer


def linked(text: str) -> Markup:
    """Plain text with its addresses as links, everything else escaped."""
    out, at = [], 0
    for found in _URL.finditer(text):
        out.append(escape(text[at:found.start()]))
        out.append(Markup('<a href="{0}" rel="noreferrer">{0}</a>').format(found[0]))
        at = found.end()
    return Markup("").join([*out, escape(text[at:])])


def _found(id: str) -> mailbox.MailboxLetter:
    found = mailbox.letter(house().database, id)
    if found is None:
        raise NotFound()
    return found
