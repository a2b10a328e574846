"""The apps of businesses that a person let know them: seen, and taken back."""

from __future__ import annotations

from flask import flash, redirect, render_template
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from auth.provider import consents
from core.web import db
from portal.standing import accounts
from unified import door

_HERE = "/profile/apps"


@door.get(_HERE)
def allowed_apps() -> ResponseReturnValue:
    names = {one.business_id: one.name for one in accounts()}
    return render_template("unified/apps.html", rows=consents.of_person(db()), names=names)


@door.post(_HERE + "/<consent_id>/removal")
def disallow_app(consent_id: str) -> ResponseReturnValue:
    row = consents.revoke(db(), consent_id)
    flash(_("%(name)s learns nothing about you any more, and you are signed out of it.", name=row.app_name), "good")
    return redirect(_HERE, 303)
