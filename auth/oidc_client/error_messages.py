"""Messages for the error codes of provider sign-in."""

from __future__ import annotations

from flask_babel import gettext as _


def error_message(code: str, name: str) -> str:
    return {
        "declined": _("%(name)s did not sign you in. Nothing was changed here.", name=name),
        "waiting": _("%(name)s is slow to answer. Please try again in a few seconds.", name=name),
        "unreachable": _("%(name)s is not available at the moment.", name=name),
        "unreadable": _("%(name)s sent an invalid response.", name=name),
        "wrong_issuer": _("The response did not come from %(name)s, so we did not use it.", name=name),
        "wrong_state": _("This sign-in was started in another browser, was already used, or took longer than ten minutes."),
        "wrong_token": _("We could not verify the response of %(name)s, so we did not use it.", name=name),
        "no_address": _("%(name)s did not send us an email address, so we cannot find your purchases.", name=name),
        "not_a_customer": _("You are signed in at %(name)s, but that account has no purchases here.", name=name),
        "needs_signing_in": _("Your account has a passkey. Sign in with it or by email, then add %(name)s in your profile.", name=name),
        "taken": _("That account at %(name)s already signs in another person here.", name=name),
        "address_taken": _(
            "The address of that account at %(name)s belongs to another account here. If both are yours, add the address "
            "to this one first.",
            name=name,
        ),
    }[code]
