"""Sam's Acorn with its console: one application for a module of tests, and staff with separate browsers."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from core.scope import everything, system
from core.settings import Settings
from tenants.memberships import invite
from tests.cast import Cast
from tests.visitor import Page, Visitor


class Site(Cast):
    """The cast, and `shop.sam`: an owner of Acorn, signed in."""

    app: Any
    sam: Visitor
    drop: Any

    @classmethod
    def open(cls, urls: dict[str, str], data_dir: Any, **settings: Any) -> Site:
        from wsgi import create_app

        app = create_app(Settings(data_dir=data_dir, base_url="http://localhost", **urls, **settings))
        app.testing = False  # errors become pages, as in production
        with app.app_context():
            site = cls.play(app.extensions["portal"])
        site.app = app
        site.sam = site.staff(cls.SAM, "owner")
        return site

    def staff(self, email: str, role: str) -> Visitor:
        """Invite a person to Acorn, sign them in, and accept the invitation."""
        with self.services.database.open(system(self.acorn), write=True) as db:
            invite(db, self.acorn, email, role)
        visitor = Visitor(self.app)
        visitor.sign_in(email)
        visitor.get("/console")
        visitor.submit("acceptance", follow=False, expect=303)
        return visitor

    def customer(self, email: str) -> Visitor:
        visitor = Visitor(self.app)
        visitor.sign_in(email)
        return visitor

    def at(self, path: str) -> str:
        return f"/console/{self.acorn}{path}"

    def save(self, path: str, expect: int = 200, **values: Any) -> Page:
        """Fill and submit the form of Sam's current page whose action is exactly this URL."""
        soup = self.sam.page.soup
        forms = soup.find_all("form")
        assert any(form.get("action") == self.at(path) for form in forms), [form.get("action") for form in forms]
        for other in forms:
            if other.get("action") != self.at(path):
                other.decompose()
        return self.sam.submit(expect=expect, **values)

    def row(self, kind: Any, *where: Any) -> Any:
        with self.services.database.open(everything("look at a row")) as db:
            return db.scalar(select(kind).where(*where))

    def rows(self, kind: Any, *where: Any) -> list[Any]:
        with self.services.database.open(everything("look at rows")) as db:
            return list(db.scalars(select(kind).where(*where)))
