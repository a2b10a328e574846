"""OpenID Connect provider: a business's apps sign in its customers with us (OpenID Connect 1.0, OAuth 2.0 with RFC 9700).

models.py                 rows: apps, subjects, consents, sessions and tokens of apps, signing keys
apps.py                   register, change and remove a business's apps
clients.py                an app as an Authlib client
keys.py                   signing keys: the next one is published before use, the old one until its tokens expired
subject.py                the customer disclosed to an app, and the browser grant used
authorization_request.py  an authorization request and the steps before its response
consents.py               store and revoke what a person allowed an app to see
token_store.py            codes and tokens: store, consume, find, end as a family
id_tokens.py              ID tokens and userinfo, from the business's customer row only
server.py                 Authlib's authorization server with these parts
backchannel_logout.py     notify apps when a session here ends
views.py                  the endpoints and the two pages
metadata_views.py         the discovery endpoints
cli.py                    the command that rotates signing keys
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask

    from core.services import Services


def register(app: Flask, services: Services) -> None:
    from auth.oidc_server import metadata_views  # noqa: F401 - registers routes
    from auth.oidc_server.backchannel_logout import Logouts, sweep
    from auth.oidc_server.cli import add_commands
    from auth.oidc_server.server import make_server
    from auth.oidc_server.views import bp
    from core.worker import Tick

    app.register_blueprint(bp)
    app.extensions["oidc_server"] = make_server(services)
    add_commands(app, services)
    services.worker.lanes.append(Logouts(services).lanes)
    services.worker.ticks.append(Tick("sessions of apps", timedelta(seconds=2), lambda: sweep(services.database)))
