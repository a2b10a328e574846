"""Sign-in: identities, sign-in emails with a link and a code, sessions, portal links, and their pages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flask import Flask

    from auth.emails import Knows
    from core.services import Services


def also_known(app: Flask, knows: Knows) -> None:
    """Register a lookup: `knows(folded address)` returns the address on file of a person who may sign in without purchases.

    Higher-level packages use it for open invitations.
    """
    app.extensions["sign_in_emails"].also_known.append(knows)


def register(app: Flask, services: Services) -> None:
    """Register the sign-in pages with the app and the sign-in emails with the worker."""
    from datetime import timedelta

    from flask import redirect, request
    from flask_login import LoginManager

    from auth import (  # noqa: F401 - registers routes on the shared blueprint
        account_emails,
        address_change,
        bot_check,
        passkey_ceremonies,
        passkey_views,
        personal_export,
        portal_link_views,
        recovery,
        recovery_views,
        retention,
        sign_in_proof_views,
    )
    from auth import unsubscribe_views as _unsubscribe_views  # noqa: F401 - registers routes
    from auth.emails import SignInEmails
    from auth.oidc_client import views as provider_views
    from auth.oidc_client.discovery import Discovery
    from auth.sessions import current_visit
    from auth.sign_in_views import bp
    from core.background_calls import BackgroundCalls
    from core.worker import Tick

    app.register_blueprint(bp)
    login = LoginManager(app)
    login.session_protection = None  # sessions are database rows; Flask-Login only provides `current_user`
    login.request_loader(lambda _request: current_visit())

    @login.unauthorized_handler  # type: ignore[untyped-decorator]
    def to_sign_in() -> Any:
        from urllib.parse import quote

        return redirect(f"/login?next={quote(request.full_path.rstrip('?'))}", 303)

    app.jinja_env.globals["passkeys_work"] = passkey_ceremonies.relying_party(services.settings) is not None
    app.extensions["bot_check"] = bot_check.configured(services.settings, services.database, services.outgoing)
    background_calls = app.extensions["background_calls"] = BackgroundCalls()
    app.extensions["oidc_discovery"] = Discovery(services.outgoing, background_calls=background_calls)
    app.jinja_env.globals["other_ways"] = provider_views.other_ways
    account_emails.register(services)
    recovery.register(services)
    personal_export.register(services)
    address_change.register(services)
    sign_in_emails = SignInEmails(services)
    app.extensions["sign_in_emails"] = sign_in_emails
    services.worker.ticks.append(Tick("old sign-ins", timedelta(hours=1), lambda: retention.sweep(services.database)))
    services.handlers.on("auth.challenge_requested", sign_in_emails.challenge_requested, sends=True)
    services.handlers.on("auth.addresses_changed", sign_in_emails.addresses_changed, sends=True)
    services.handlers.on("portal_link.requested", sign_in_emails.portal_link_requested, sends=True)
