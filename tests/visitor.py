"""A person with a browser: opens pages, fills forms, reads emails, and lints every page."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

from bs4 import BeautifulSoup
from flask import Flask
from sqlalchemy import select

from core.mailbox import MailboxEmail
from core.scope import everything
from tests.pagelint import lint


class Page:
    """One answer. `.soup` is the parsed page, `.text` its visible text."""

    def __init__(self, response: Any) -> None:
        self.response, self.status = response, response.status_code
        self.body: bytes = response.get_data()
        self.is_html = response.mimetype == "text/html"
        self.soup = BeautifulSoup(self.body, "html.parser") if self.is_html else None
        self.location = response.headers.get("Location", "")

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", self.soup.get_text(" ")) if self.soup else self.body.decode(errors="replace")

    @property
    def h1(self) -> str:
        item = self.soup.find("h1") if self.soup else None
        return re.sub(r"\s+", " ", item.get_text(" ").strip()) if item else ""

    @property
    def opens(self) -> str:
        """The URL that a page of this portal opens by itself."""
        found = self.soup.find("meta", {"http-equiv": "refresh"}) if self.soup else None
        return str(found["content"]).partition("url=")[2] if found else ""

    def form(self, action_part: str = "") -> Any:
        """Return the first form whose action contains the text."""
        assert self.soup is not None
        for form in self.soup.find_all("form"):
            if action_part in (form.get("action") or "") and form.get("method", "get").lower() == "post":
                return form
        raise AssertionError(f"no form to {action_part!r} on this page: {[f.get('action') for f in self.soup.find_all('form')]}")


class Visitor:
    def __init__(self, app: Flask, agent: str = "Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0", address: str = "127.0.0.1") -> None:
        self.app = app
        self.services = app.extensions["portal"]
        self.client = app.test_client()
        self.headers = {"User-Agent": agent}
        self.environ = {"REMOTE_ADDR": address}
        self.page: Page | None = None

    def get(self, path: str, follow: bool = True, expect: int | None = 200, **kwargs: Any) -> Page:
        return self._open("GET", path, follow, expect, **kwargs)

    def post(
        self,
        path: str,
        data: dict[str, Any] | None = None,
        follow: bool = True,
        expect: int | None = 200,
        token: bool = True,
        **kwargs: Any,
    ) -> Page:
        data = dict(data or {})
        if token and "csrf_token" not in data:
            data["csrf_token"] = self.token()
        return self._open("POST", path, follow, expect, data=data, **kwargs)

    def submit(self, action_part: str = "", follow: bool = True, expect: int | None = 200, **values: Any) -> Page:
        """Fill and submit a form of the current page, as a browser without scripts does."""
        assert self.page is not None
        form = self.page.form(action_part)
        data: dict[str, Any] = {}
        for field in form.find_all(["input", "select", "textarea"]):
            name = field.get("name")
            if not name or (field.get("type") in ("checkbox", "radio") and not field.has_attr("checked")):
                continue
            if field.name == "select":
                chosen = field.find("option", selected=True) or field.find("option")
                value = chosen.get("value", chosen.get_text()) if chosen else ""
            else:
                value = field.get_text() if field.name == "textarea" else field.get("value", "")
            data[name] = [*data[name], value] if isinstance(data.get(name), list) else ([data[name], value] if name in data else value)
        data.update(values)
        action = form.get("action") or self.path
        return self.post(action, data, follow=follow, expect=expect, token=False)

    def token(self) -> str:
        """Return a CSRF token for this browser, from a page that has one."""
        if self.page and self.page.soup and (field := self.page.soup.find("input", {"name": "csrf_token"})):
            return field["value"]
        soup = BeautifulSoup(self.client.get("/login", headers=self.headers, environ_base=self.environ).data, "html.parser")
        field = soup.find("input", {"name": "csrf_token"})
        return field["value"] if field else ""

    def _open(self, method: str, path: str, follow: bool, expect: int | None, **kwargs: Any) -> Page:
        parts = urlsplit(path)
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        headers = {**self.headers, **kwargs.pop("headers", {})}
        if method == "POST":
            headers.setdefault("Origin", self.services.settings.base_url)
        response = self.client.open(path, method=method, headers=headers, environ_base=self.environ, **kwargs)
        self.path = path
        for _ in range(8):
            if not (follow and response.status_code in (301, 302, 303, 308) and response.headers["Location"]):
                break
            to = urlsplit(response.headers["Location"])
            self.path = to.path + (f"?{to.query}" if to.query else "")
            response = self.client.get(self.path, headers=self.headers, environ_base=self.environ)
        page = Page(response)
        if page.is_html and page.status < 500 and page.body:
            lint(page.body.decode(), self.path)
        self.page = page
        if expect is not None:
            assert page.status == expect, f"{method} {path} answered {page.status}: {page.text[:600]}"
        return page

    # --- emails and sign-in
    def emails(self, to: str | None = None) -> list[MailboxEmail]:
        """Return the emails so far (oldest first), after the worker has run."""
        self.services.worker.drain()
        return self.received(to)

    def received(self, to: str | None = None) -> list[MailboxEmail]:
        """Return the emails in the test mailbox, oldest first."""
        with self.services.database.open(everything("read the test mailbox")) as db:
            rows = list(db.scalars(select(MailboxEmail).order_by(MailboxEmail.created_at, MailboxEmail.id)))
        return [row for row in rows if to is None or row.to.lower() == to.lower()]

    def sign_in(self, email: str, door: str = "/login") -> Page:
        """Sign in by the emailed link, in this browser."""
        self.get(door)
        self.submit("login", email=email)
        self.services.worker.finish()  # the recurring jobs take most of the time of `drain`, and send no sign-in emails
        links = [item.text for item in self.received(email) if "/login/link/" in item.text]
        return self.open_link(links[-1])  # other emails may be sent after it

    def open_link(self, text: str, marker: str = "/login/link/") -> Page:
        found = re.search(rf"https?://[^\s]*({re.escape(marker)}[^\s>]+)", text)
        assert found, text
        self.get(found.group(1))
        return self.submit(found.group(1).split("?")[0].rsplit("/", 1)[-1][:10])
