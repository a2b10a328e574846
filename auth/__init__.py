"""Who somebody is: identities, letters with a link and a code, sessions, merchants' links; and the pages of all that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flask import Flask

    from auth.letters import Knows
    from core.web import House


def also_known(app: Flask, knows: Knows) -> None:
    """For rooms above: `knows(folded address)` is the address on file of somebody without purchases who may sign in (invitations)."""
    app.extensions["sign_in_letters"].also_known.append(knows)


def register(app: Flask, house: House) -> None:
    """Hang the sign-in pages on the app and their letters on the worker."""
    from datetime import timedelta

    from flask import redirect, request
    from flask_login import LoginManager

    from auth import bots, exports, following, link_views, notices, passkey_views, passkeys, recovery, recovery_views, sweeping  # noqa: F401 - their routes hang on the same blueprint
    from auth import unsubscribe_views as _unsubscribe_views  # noqa: F401 - the same
    from auth.letters import SignInLetters
    from auth.providers import views as provider_views
    from auth.providers.discovery import Discovery
    from auth.sessions import current
    from auth.views import bp
    from core.errands import Errands
    from core.worker import Tick

    app.register_blueprint(bp)
    login = LoginManager(app)
    login.session_protection = None  # our session is a row; Flask-Login only carries it to `current_user`
    login.request_loader(lambda _request: current())

    @login.unauthorized_handler
    def to_sign_in() -> Any:
        from urllib.parse import quote

        return redirect(f"/login?next={quote(request.full_path.rstrip('?'))}", 303)

    app.jinja_env.globals["passkeys_work"] = passkeys.relying_party(house.settings) is not None
    app.extensions["bot_check"] = bots.chosen(house.settings, house.database, house.outgoing)
    errands = app.extensions["errands"] = Errands()
    app.extensions["oidc_discovery"] = Discovery(house.outgoing, errands=errands)
    app.jinja_env.globals["other_ways"] = provider_views.other_ways
    notices.register(house)
    recovery.register(house)
    exports.register(house)
    following.register(house)
    letters = SignInLetters(house)
    app.extensions["sign_in_letters"] = letters
    house.worker.ticks.append(Tick("old sign-ins", timedelta(hours=1), lambda: sweeping.sweep(house.database)))
    house.handlers.on("auth.challenge_asked", letters.challenge_asked)
    house.handlers.on("auth.addresses_changed", letters.addresses_changed)
    house.handlers.on("portal_link.asked", letters.portal_link_asked)
