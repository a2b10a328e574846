"""The sentences of errors that reach people's pages, named for the catalogues.

Rooms below the pages raise them in plain English and know nothing of languages; `core.faults` and the forms translate
what they show. A sentence that is missing here stays English: the test compares this list with the code.
"""

from __future__ import annotations


def N_(text: str) -> str:
    """Marks a sentence for the catalogue without translating it."""
    return text


SENTENCES = (
    N_("A change is planned already. Cancel it first."),
    N_("A name has 1 to 200 characters."),
    N_("A name has no line breaks or control characters."),
    N_("A payment for this is under way. Wait until it is settled."),
    N_("A payment with it is under way. Please wait until it is settled."),
    N_("Choose another plan."),
    N_("Choose at least one business."),
    N_("Choose one of the languages."),
    N_("Choose one of the reasons, or none."),
    N_("Give a name of 1 to 200 characters."),
    N_("No change is planned."),
    N_("Nothing is paid for this in its present state."),
    N_("Nothing can be paid here: this portal has no payment provider."),
    N_("One of this is all that can be had."),
    N_("Open this link in the browser where you asked to add the address, signed in as before."),
    N_("Sign in with your main address first."),
    N_("Something changed since these figures were shown. Look at the new ones."),
    N_("The document is made once the money has gone back."),
    N_("The plan was changed three times in this period. It can change again in the next one."),
    N_("The quantity is 1 or more."),
    N_("The quantity is 1 or more; 1 where use is counted."),
    N_("There is no such add-on for this plan."),
    N_("There is no such payment method."),
    N_("There is no such payment."),
    N_("There is no such plan any more."),
    N_("There is no such quote."),
    N_("There is no such refund."),
    N_("There is no such subscription."),
    N_("There is nothing to pay for this in its present state."),
    N_("There is nothing to pay for this now."),
    N_("This activation belongs to another licence key."),
    N_("This business asks you to contact it to cancel."),
    N_("This business asks you to contact it to change the plan."),
    N_("This business asks you to contact it to pause."),
    N_("This business is closed."),
    N_("This has ended; it cannot be taken back any more."),
    N_("This is about to end. Keep it first, then change the plan."),
    N_("This is being renewed right now. Try again in a moment."),
    N_("This is not an e-mail address."),
    N_("This is paid through another system; it cannot be paid here."),
    N_("This is paid through another system; the way to pay is changed there."),
    N_("This is the main address of another account. Sign in there and name another one."),
    N_("This is the present plan."),
    N_("This is your main address. Name another one first."),
    N_("This licence key is not active."),
    N_("This link was used already."),
    N_("This name cannot be used."),
    N_("This plan cannot be had instead of the present one."),
    N_("This subscription is billed by another system. Change it there."),
    N_("This subscription is billed by another system. Change its plan there."),
    N_("We are still checking the previous payment with the bank. Nothing more is taken until we know; please look again in a few minutes."),
    N_("Write the number with its country code, like +44 20 7946 0100."),
)
