"""Change the email address that businesses store for the customer.

The new address is confirmed by an emailed link. The old address is notified.
"""

from __future__ import annotations

from flask import flash, redirect, render_template, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from auth import cookies, sessions, sign_in_context
from auth import email_change as email_change_requests
from auth.devices import device_words
from auth.sessions import Visit
from core import i18n
from core.errors import N_, Forbidden, Invalid
from core.links import here
from core.request_context import services
from portal import bp, step_up
from portal.request_accounts import accounts, is_several


@bp.get("/profile/email")
def email_change() -> ResponseReturnValue:
    return _page({}, "", None)


@bp.post("/profile/email")
def request_email_change() -> ResponseReturnValue:
    """Request the change. The response does not reveal whether the new address has an account."""
    visit, settings, email = _person(), services().settings, request.form.get("email", "")
    if not step_up.is_fresh():
        return step_up.prove(here("email_change"))
    wanted = request.form.getlist("to") if is_several() else [account.customer_id for account in accounts()]
    pairs = [
        (account.business_id, account.customer_id) for account in accounts() if account.customer_id in wanted and not account.archived_at
    ]
    browser = cookies.browser(settings)
    try:
        due = email_change_requests.request_change(
            services().database,
            settings,
            visit,
            email,
            pairs,
            browser=browser,
            source=request.remote_addr,
            device=device_words(request.user_agent.string),
            locale=i18n.locale(),
            next=here("profile"),
        )
    except Invalid as wrong:
        return _page({name: _(sentence) for name, sentence in wrong.fields.items()}, email[:320], wanted), 422
    if wait := sign_in_context.seconds_until(due):
        flash(
            _(
                "We will email %(address)s in about %(seconds)d seconds. Open the link in this browser. Nothing changes until then.",
                address=email.strip(),
                seconds=wait,
            ),
            "good",
        )
    else:
        flash(_("We emailed %(address)s. Open the link in this browser. Nothing changes until then.", address=email.strip()), "good")
    answer = redirect(here("profile"), 303)
    cookies.keep_browser(settings, answer, browser)
    return answer


def _person() -> Visit:
    """Return the visit of a signed-in person.

    Raises Forbidden for portal links of a business, which must not change the email address.
    """
    visit = sessions.current_visit()
    if visit is None or not visit.is_person or visit.link:
        raise Forbidden("PROOF_NEEDED", _("Sign in by email first."))
    if len(visit.addresses) < len(visit.emails):
        raise Forbidden("PROOF_NEEDED", N_("Sign in with your main address first."))
    return visit


def _page(errors: dict[str, str], email: str, wanted: list[str] | None) -> str:
    _person()
    open_ones = [account for account in accounts() if not account.archived_at]
    return render_template(
        "portal/email_change.html",
        errors=errors,
        email=email,
        accounts=open_ones,
        several=is_several(),
        is_fresh=step_up.is_fresh(),
        wanted=[item.customer_id for item in open_ones] if wanted is None else wanted,
        prove_url=sessions.fresh_proof_url(here("email_change")),
    )
