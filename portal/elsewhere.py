"""What another billing system collects: what was asked of it, in words, and the page there on which a card is changed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from flask import flash, redirect, render_template
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from billing.commands import opening_elsewhere as command
from billing.forwarded import ForwardedAct
from billing.queries import forwarded
from billing.queries.subscriptions import SubscriptionRow
from core import clock
from core.errors import Conflict, Unavailable
from core.web import db, external, here, house, scope
from portal import bp  # noqa: F401 - a page module like the others
from portal.standing import Account
from portal.words import card

SOON = timedelta(seconds=90)


@dataclass(frozen=True)
class Note:
    """`reload`: seconds after which the page looks again by itself, 0 for never."""

    voice: str
    bold: str
    words: str
    link: str = ""
    reload: int = 0


def note(row: SubscriptionRow, theirs: Account) -> Note | None:
    """What there is to say of the last thing that was asked of the other system."""
    if row.collected_by == "us":
        return None
    act = forwarded.latest(db(), row.business_id, row.id)
    return _note(act, theirs) if act is not None else None


def _note(act: ForwardedAct, theirs: Account) -> Note:
    wish = wishes(act.verb)
    if act.status == "refused":
        return Note("due", _("%(business)s’s billing system did not do it: %(wish)s.", business=theirs.name, wish=wish),
                    _("It says: “%(words)s” Nothing was changed.", words=_(act.error) if act.error else ""))
    if act.status == "unanswered":
        return Note("check", _("We do not know whether %(business)s’s billing system did it: %(wish)s.", business=theirs.name, wish=wish),
                    _("It did not answer for a day. As soon as we hear from it, this page says what is so; you can ask again."))
    if act.status == "confirmed":
        return Note("good", _("%(business)s’s billing system has confirmed: %(wish)s.", business=theirs.name, wish=wish), "")
    if act.link:
        return Note("wait", _("%(business)s’s billing system wants you to finish this on its page.", business=theirs.name),
                    _("Nothing changes until you do."), act.link)
    late = clock.wall() - (act.sent_at or clock.wall()) > SOON
    words = _("It has not answered yet. We go on asking, and nothing is done twice.") if late else _("It will confirm in a moment.")
    return Note("wait", _("We have asked %(business)s’s billing system: %(wish)s.", business=theirs.name, wish=wish), words,
                reload=0 if late else 3)


def wishes(verb: str) -> str:
    """What was asked for, as it stands after a colon."""
    return {
        "cancel": _("to end it with its period"), "keep": _("to go on with it"), "end": _("to end it now"), "pause": _("to pause it"),
        "resume": _("to resume it"), "change_plan": _("to change the plan"), "keep_plan": _("to keep the present plan"),
        "edit_billing": _("to change the billing details"), "change_method": _("for its page to change the card"),
    }[verb]  # fmt: skip


def asked(row: SubscriptionRow) -> ResponseReturnValue:
    """Back to the subscription, which says what was asked and what came of it."""
    return redirect(f"{here('subscriptions')}/{row.id}", 303)


def method_page(row: SubscriptionRow, theirs: Account, problem: str = "") -> str:
    return render_template("portal/payment_method_elsewhere.html", row=row, account=theirs, url=f"{here('subscriptions')}/{row.id}",
                           card=card(row.brand, row.last4, row.kind), problem=problem)


def open_method_page(row: SubscriptionRow, theirs: Account) -> ResponseReturnValue:
    """To the page of the other system. Opens no session of this request."""
    from portal.paying import let_forms_leave

    try:
        link = command.open_method_page(house().forwarder, scope(), row.id, external(f"{here('subscriptions')}/{row.id}"))
    except (Conflict, Unavailable) as wrong:
        return method_page(row, theirs, _(wrong.sentence)), wrong.status
    if not link:
        flash(_("There is nothing to enter: %(business)s’s billing system took care of it.", business=theirs.name), "good")
        return asked(row)
    let_forms_leave(link)
    return redirect(link, 303)
