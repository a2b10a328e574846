"""Being the provider: a business's own apps sign its customers in with us (OpenID Connect 1.0, OAuth 2.0 with RFC 9700).

    models.py     rows: apps, subjects, consents, an app's sessions and tokens, our signing keys
    apps.py       a business's apps: registered, changed, removed
    clients.py    an app as Authlib sees it
    keys.py       signing keys: the next one published before its use, the old one kept until its tokens ended
    who.py        who may be told of at all, and by which of the browser's grants
    asking.py     an authorization request, and what has to happen before it is answered
    consents.py   what a person allowed an app to learn, remembered and taken back
    issuing.py    codes and tokens: written, used once, found again, ended as a family
    saying.py     what an app learns: ID tokens and userinfo, from its business's customer row alone
    server.py     Authlib's authorization server with these parts in it
    leaving.py    logout both ways: the app's wish, and word to the apps when a session here ends
    views.py      the endpoints and the two pages
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask

    from core.web import House


def register(app: Flask, house: House) -> None:
    from auth.provider.cli import add_commands
    from auth.provider.leaving import Logouts, sweep
    from auth.provider.server import make_server
    from auth.provider.views import bp
    from core.worker import Tick

    app.register_blueprint(bp)
    app.extensions["oidc_server"] = make_server(house)
    add_commands(app, house)
    house.worker.lanes.append(Logouts(house).lanes)
    house.worker.ticks.append(Tick("sessions of apps", timedelta(seconds=2), lambda: sweep(house.database)))
