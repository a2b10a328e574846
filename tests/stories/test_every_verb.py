"""Every verb in every state of a subscription: the page of both doors, the command and the API give the same answer.

Allowed leads to the same state everywhere. Refused shows the command's own sentence on the page, carries its code in the
API (and tells the SDK not to try again), and changes nothing. A page offers what is allowed, and only that.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import select

from billing import dunning, lifecycle, renewals
from billing.commands.archiving import archive_business
from billing.parties import Business
from core.scope import everything
from tests.stories.states import AGAINST_POLICY, STATES, Rig

OVER, WAIT = "SUBSCRIPTION_INACTIVE", "PREVIOUS_PAYMENT_PENDING"
NO_PAUSE, NOT_PAUSED, PAUSED = "SUBSCRIPTION_NOT_ELIGIBLE_FOR_PAUSE", "SUBSCRIPTION_NOT_PAUSED", "SUBSCRIPTION_ALREADY_PAUSED"
NO_PLAN, ENDS = "INACTIVE_SUBSCRIPTION_PLAN_CHANGE_NOT_SUPPORTED", "PLAN_CHANGE_NOT_ALLOWED_FOR_SCHEDULED_CANCELLATION"
PLANNED, NO_CHANGE = "SCHEDULED_PLAN_CHANGE_EXISTS", "SCHEDULED_PLAN_CHANGE_NOT_FOUND"
VERBS = ("schedule_cancel", "keep", "cancel", "pause", "resume", "change_plan", "keep_plan", "change_method", "edit_billing", "pay_dues")
ONCE_MORE = ("pending", "active", "under way", "on hold", "past due", "paused")
PAUSES = ("pause", "resume", "change_plan", "keep_plan")


def row(keeps: str, pauses: tuple[str, ...], pays: str = "active") -> tuple[str, ...]:
    """Of what is neither over nor not begun. `keeps`: the status it keeps. `pauses`: the answers to the verbs of PAUSES."""
    status = keeps.removesuffix(", ending")
    return (f"{status}, ending", status, "cancelled", *pauses, pays if status == "on_hold" else keeps, keeps, pays)


# The whole truth, verb by verb in the order above: the state it leads to, or the code it is refused with.
_OVER = (OVER, OVER, OVER, NO_PAUSE, NOT_PAUSED, NO_PLAN, NO_CHANGE, OVER, OVER, OVER)
_UNPAID = (NO_PAUSE, NOT_PAUSED, NO_PLAN, NO_CHANGE)
TRUTH: dict[str, tuple[str, ...]] = {
    "pending": _OVER,
    "trial": row("active", ("paused", NOT_PAUSED, "active", NO_CHANGE)),
    "active": row("active", ("paused", NOT_PAUSED, "active", NO_CHANGE)),
    "planned": row("active", ("paused", NOT_PAUSED, PLANNED, "active")),
    "under way": row("active", (WAIT, NOT_PAUSED, WAIT, NO_CHANGE)),
    "ending": row("active, ending", (NO_PAUSE, NOT_PAUSED, ENDS, NO_CHANGE), "active, ending"),
    "on hold": row("on_hold", _UNPAID),
    "on hold, ending": row("on_hold, ending", _UNPAID, "active, ending"),
    "past due": row("past_due", _UNPAID),
    "past due, ending": row("past_due, ending", _UNPAID, "active, ending"),
    "paused": row("paused", (PAUSED, "active", NO_PLAN, NO_CHANGE), OVER),
    "paused, ending": row("paused, ending", (PAUSED, "active, ending", NO_PLAN, NO_CHANGE), OVER),
    "cancelled": (OVER, OVER, "cancelled", *_OVER[3:]),
    "cancelled at its end": (OVER, OVER, "cancelled, ending", *_OVER[3:]),
    "expired": _OVER,
    "failed": _OVER,
}
API_ONLY = {("cancelled", "cancel"): OVER, ("cancelled at its end", "cancel"): OVER}
"""A person who cancels twice is told that it has ended; a program is told that there is nothing to cancel (contract §2.3)."""
NOT_OFFERED = {
    ("ending", "cancel"), ("on hold, ending", "cancel"), ("past due, ending", "cancel"), ("paused, ending", "cancel"),  # keep it first
    ("under way", "change_method"), ("under way", "pay_dues"),  # "See the payment" stands there instead
}  # fmt: skip


@pytest.fixture(scope="module")
def rig(street: Any) -> Iterator[Rig]:
    yield Rig(street)


def is_code(outcome: str) -> bool:
    return outcome.isupper()


def expected(state: str, verb: str, allowed: bool, door: str) -> str:
    if not allowed and verb in AGAINST_POLICY and door != "api":  # the settings bind customers, not the business's own program
        return {"cancel": "CANCELLATION_DISABLED", "pause": "SUBSCRIPTION_CUSTOMER_PAUSE_DISABLED",
                "plan_change": "PLAN_CHANGE_FOR_CUSTOMER_PORTAL_DISABLED"}[AGAINST_POLICY[verb]]  # fmt: skip
    told = TRUTH[state][VERBS.index(verb)]
    return API_ONLY.get((state, verb), told) if door == "api" else told


def is_idle(state: str, verb: str) -> bool:
    """Asking for what is so already: no refusal, and no change."""
    ending, over, paid = state.endswith("ending"), state.startswith("cancelled"), state in ("trial", "active", "planned", "ending")
    return {"schedule_cancel": ending, "keep": not ending, "cancel": over, "pay_dues": paid}.get(verb, False)


@pytest.mark.parametrize("state", STATES)
def test_every_door_gives_the_same_answer(rig: Rig, state: str) -> None:
    """On PostgreSQL each verb comes through one of the doors, by turns: the answers know no engine, their statements do."""
    unified, business = "", f"/business/{rig.street.acorn}"
    is_sqlite = rig.house.database.is_sqlite
    if not is_sqlite and state not in ONCE_MORE:
        pytest.skip("the same statements as for another state")
    for allowed in (True, False) if is_sqlite else (True,):
        rig.allow(allowed)
        one = rig.make(state)
        again = rig.remember() if is_sqlite else None
        for turn, verb in enumerate(VERBS, STATES.index(state)):
            doors = ("command", unified, business, "api")
            for door in doors if is_sqlite else (doors[turn % 4],):
                if (door == "api" and verb == "pay_dues") or (not allowed and door != unified and verb not in AGAINST_POLICY):
                    continue  # programs pay dues by choosing a method; what no setting rules is asked once with all of them off
                name, before, outcome = f"{state}/{verb}/{door}/{allowed}", rig.facts(one), expected(state, verb, allowed, door)
                said = rig.act(door, verb, one)
                if is_code(outcome):
                    assert 400 <= said.status < 500 and said.code in (outcome, None), (name, said)
                    assert rig.facts(one) == before, name
                    command = said if door == "command" else rig.by_command(verb, one)
                    if door == "command" or (door == "api" and outcome == expected(state, verb, allowed, "command")):
                        assert (said.status, said.code) == (command.status, outcome), (name, said)
                    elif door != "api":
                        assert said.status == command.status and command.sentence in said.text, (name, said, command)
                    continue
                assert said.status in (200, 204, 303), (name, said)
                assert rig.state(one) == outcome, (name, rig.state(one))
                if is_idle(state, verb):
                    assert rig.facts(one) == before, name
                elif again:
                    again()
                else:
                    one = rig.make(state)


def test_the_truth_is_the_table() -> None:
    """What is written above and what `lifecycle.py` says are one thing: nothing is allowed there that is refused here."""
    status = {"trial": "active", "planned": "active", "under way": "active", "ending": "active", "cancelled at its end": "cancelled"}
    for state in STATES:
        told = dict(zip(VERBS, TRUTH[state], strict=True))
        of = status.get(state) or state.removesuffix(", ending").replace(" ", "_")
        for verb in ("schedule_cancel", "keep", "cancel", "pause", "resume", "change_plan", "change_method"):
            if not lifecycle.may(lifecycle.SUBSCRIPTION, of, verb):
                assert is_code(told[verb]) or is_idle(state, verb), (state, verb)
            elif is_code(told[verb]):  # the state would allow it: something else is in the way, and it says what
                assert told[verb] in (WAIT, ENDS, NO_PAUSE, PLANNED), (state, verb)


@pytest.mark.parametrize("state", STATES)
def test_a_page_offers_what_is_allowed_and_only_that(rig: Rig, state: str) -> None:
    if not rig.house.database.is_sqlite:
        pytest.skip("what a page draws knows no engine")
    one = rig.make(state)
    for allowed in (True, False):
        rig.allow(allowed)
        wanted = {verb for verb in VERBS if not is_code(expected(state, verb, allowed, "page")) and not is_idle(state, verb)}
        wanted -= {verb for verb in wanted if (state, verb) in NOT_OFFERED}
        for prefix in ("", f"/business/{rig.street.acorn}"):
            assert offered(rig, f"{prefix}/subscriptions/{one}", state) == wanted, (prefix, allowed)
    rig.allow(True)


def offered(rig: Rig, url: str, state: str) -> set[str]:
    """The verbs behind the links and buttons of a subscription's page. A link counts when it leads to the form of its act."""
    page = rig.look(url)
    links = {one["href"] for one in page.select("main a[href]")}
    found = {verb for verb, path in (("keep", "/cancellation/revocation"), ("keep_plan", "/plan-change/revocation"))
             if page.find("form", {"action": url + path})}  # fmt: skip
    for path, acts in (("/cancellation", {"schedule_cancel", "cancel"}), ("/plan-change", {"change_plan"}), ("/pause", {"pause", "resume"}),
                       ("/payment-method", {"change_method", "pay_dues"}), ("/billing-details", {"edit_billing"})):  # fmt: skip
        if url + path not in links:
            continue
        form = rig.look(url + path).select_one(f"form[method=post][action^='{url}{path}']")
        assert form is not None, (state, path)
        if path == "/pause":
            acts = {"resume" if form["action"].endswith("resumption") else "pause"}
        elif path == "/payment-method":
            acts = acts if form.find("input", {"name": "due"}) else {"change_method"}
        found |= acts
    return found


def test_a_closed_business_changes_nothing_and_offers_nothing(rig: Rig) -> None:
    """Its pages stay to be read; every act is refused at both doors, and a program's key is refused as a whole."""
    rows = {state: rig.make(state) for state in ("active", "planned", "ending", "on hold", "paused")}
    with rig.house.database.open(everything("a business closes"), write=True) as db:
        archive_business(db, rig.street.acorn)
    try:
        for state, one in rows.items():
            before = rig.facts(one)
            for prefix in ("", f"/business/{rig.street.acorn}"):
                assert offered(rig, f"{prefix}/subscriptions/{one}", state) == set(), state
                for verb in VERBS:
                    said = rig.by_page(prefix, verb, one)
                    assert said.status == 403 and re.search("clos", said.text), (state, verb, prefix, said)
            assert rig.by_api("cancel", one).code == "BUSINESS_ARCHIVED" and rig.facts(one) == before
        taken = rig.house.gateway.movements()
        for one in rows.values():
            rig.renew(one)
        renewals.run_due(rig.till)
        dunning.run_due(rig.till)
        assert rig.house.gateway.movements() == taken  # it takes nothing more; what was to end has ended
        assert rig.state(rows["ending"]) == "cancelled, ending" and rig.state(rows["active"]) == "active"
    finally:
        with rig.house.database.open(everything("it opens again"), write=True) as db:
            db.scalar(select(Business).where(Business.business_id == rig.street.acorn)).archived_at = None
