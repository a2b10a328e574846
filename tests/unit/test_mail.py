"""Emails through a real SMTP server, stored once in the mailbox, and identical on every retry."""

import email
import socket
from email import policy
from pathlib import Path

import pytest
from aiosmtpd.controller import Controller
from flask import Flask
from jinja2 import DictLoader

from core import application, guard, mailbox
from core.db import Database
from core.email_log import EmailRecord
from core.mail import Attachment, EmailMessage, Mailer, render_email
from core.models import Base
from core.outbox import Outbox
from core.services import Services
from core.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
WORDS = {
    "email/hello/subject.txt": "Hello\n {{ name }}",
    "email/hello/body.txt": '{% extends "email/layout.txt" %}{% block heading %}Hello{% endblock %}'
    "{% block body %}<{{ name }}>{% endblock %}",
    "email/hello/body.html": '{% extends "email/layout.html" %}'
    '{% block body %}<p>{{ name }}, {{ fmt.money(2900, "EUR") }}</p>{% endblock %}',
}


class Kept:
    def __init__(self):
        self.emails = []

    async def handle_DATA(self, server, session, envelope):
        self.emails.append(email.message_from_bytes(envelope.content, policy=policy.default))
        return "250 taken"


@pytest.fixture
def post():
    kept = Kept()
    with socket.create_server(("127.0.0.1", 0)) as free:
        kept.port = free.getsockname()[1]
    controller = Controller(kept, hostname="127.0.0.1", port=kept.port)
    controller.start()
    yield kept
    controller.stop()


@pytest.fixture
def services(tmp_path, post):
    url = f"sqlite:///{tmp_path / 'mail.sqlite3'}"
    settings = Settings(database_url=url, data_dir=tmp_path, mail_server="127.0.0.1", mail_port=post.port)
    database = Database(settings)
    with guard.raw_sql():
        Base.metadata.create_all(database.engine, tables=[mailbox.MailboxEmail.__table__, EmailRecord.__table__, Outbox.__table__])
    app = Flask("letters", root_path=str(ROOT))
    wired = Services(settings, database, mailer=Mailer(settings, database))
    application.register(app, wired)
    usual = app.jinja_env.loader
    app.jinja_env.loader = DictLoader(
        {
            **WORDS,
            **{name: usual.get_source(app.jinja_env, name)[0] for name in ("email/layout.html", "email/layout.txt", "email/parts.html")},
        }
    )
    wired.app = app
    return wired


def test_an_email_is_sent_once(services, post):
    message = EmailMessage(
        "ada@marlow.example", "Grüße", "Hello", "<p>Hello</p>", attachments=(Attachment("a.pdf", "application/pdf", b"%PDF"),)
    )
    services.mailer.send(message, "evt_1")
    services.mailer.send(message, "evt_1")
    services.mailer.send(message, "evt_2")
    ids = [email["Message-ID"] for email in post.emails]
    assert len(ids) == 2 and ids[0] != ids[1] and ids[0].endswith("@127.0.0.1>"), "what was sent is not sent again"
    assert post.emails[0]["Subject"] == "Grüße" and post.emails[0]["Auto-Submitted"] == "auto-generated"
    assert [part.get_filename() for part in post.emails[0].iter_attachments()] == ["a.pdf"]
    assert len(mailbox.recent_emails(services.database)) == 2
    assert len(mailbox.recent_emails(services.database, to="ben@rowan.example")) == 0


def test_an_email_is_rendered_outside_of_requests(services):
    subject, text, html = render_email(
        "hello", "xx", name="<Ada>", sender="Acorn Notes", brand={"accent": "#5a2e14"}, to="ada@marlow.example"
    )
    assert subject == "[test] Hello <Ada>" and "TEST MODE" in text and "<<Ada>>" in text and "\n\n\n" not in text
    assert "&lt;Ada&gt;, €29.00" in html and "#5a2e14" in html and "Test mode" in html and "Sent to ada@marlow.example." in html


def test_the_mailbox_shows_emails_without_running_scripts(services):
    text, html = "see http://127.0.0.1:5000/x?a=1&b=2. <b>", "<html><head></head><script>1</script></html>"
    services.mailer.send(EmailMessage("ada@marlow.example", "Hi", text, html), "evt_3")
    client = services.app.test_client()
    services.app.jinja_env.loader = services.app.create_global_jinja_loader()
    kept = mailbox.recent_emails(services.database)[0]
    page = client.get(f"/mailbox/{kept.id}")
    assert '<a href="http://127.0.0.1:5000/x?a=1&amp;b=2" rel="noreferrer">' in page.text and "&lt;b&gt;" in page.text
    drawn = client.get(f"/mailbox/{kept.id}/html")
    assert "sandbox" in drawn.headers["Content-Security-Policy"] and "script-src" not in drawn.headers["Content-Security-Policy"]
    assert client.get("/mailbox/nothing").status_code == 404
