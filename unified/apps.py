"""List the apps that a person has given access to their details, and revoke that access."""

from __future__ import annotations

from flask import flash, redirect, render_template
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from auth.oidc_server import consents
from core.request_context import db
from portal.request_accounts import accounts
from unified import door

_PATH = "/profile/apps"


@door.get(_PATH)
def allowed_apps() -> ResponseReturnValue:
    names = {account.business_id: account.name for account in accounts()}
    return render_template("unified/apps.html", rows=consents.of_person(db()), names=names)


@door.post(_PATH + "/<consent_id>/removal")
def disallow_app(consent_id: str) -> ResponseReturnValue:
    row = consents.revoke(db(), consent_id)
    flash(_("%(name)s no longer has access to your details, and you are signed out of it.", name=row.app_name), "good")
    return redirect(_PATH, 303)
