"""Sam's Acorn with its console: one application for a whole module of tests, and staff with browsers of their own."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from core.scope import everything, system
from core.settings import Settings
from tenants.joining import invite
from tests.cast import Cast
from tests.visitor import Page, Visitor


class Shop(Cast):
    """The cast, and `shop.sam`: an owner of Acorn, signed in."""

    app: Any
    sam: Visitor
    drop: Any

    @classmethod
    def open(cls, urls: dict[str, str], data_dir: Any, **settings: Any) -> Shop:
        from wsgi import create_app

        app = create_app(Settings(data_dir=data_dir, base_url="http://localhost", **urls, **settings))
        app.testing = False  # errors become pages, as in production
        with app.app_context():
            shop = cls.play(app.extensions["portal"])
        shop.app = app
        shop.sam = shop.staff(cls.SAM, "owner")
        return shop

    def staff(self, email: str, role: str) -> Visitor:
        """Somebody who was invited to Acorn, came, and joined."""
        with self.house.database.open(system(self.acorn), write=True) as db:
            invite(db, self.acorn, email, role)
        one = Visitor(self.app)
        one.sign_in(email)
        one.get("/console")
        one.submit("acceptance", follow=False, expect=303)
        return one

    def customer(self, email: str) -> Visitor:
        one = Visitor(self.app)
        one.sign_in(email)
        return one

    def at(self, path: str) -> str:
        return f"/console/{self.acorn}{path}"

    def save(self, path: str, expect: int = 200, **values: Any) -> Page:
        """Sam fills and sends the form of the page he is on that goes to exactly this address."""
        soup = self.sam.page.soup
        forms = soup.find_all("form")
        assert any(one.get("action") == self.at(path) for one in forms), [one.get("action") for one in forms]
        for other in forms:
            if other.get("action") != self.at(path):
                other.decompose()
        return self.sam.submit(expect=expect, **values)

    def row(self, kind: Any, *where: Any) -> Any:
        with self.house.database.open(everything("look at a row")) as db:
            return db.scalar(select(kind).where(*where))

    def rows(self, kind: Any, *where: Any) -> list[Any]:
        with self.house.database.open(everything("look at rows")) as db:
            return list(db.scalars(select(kind).where(*where)))
