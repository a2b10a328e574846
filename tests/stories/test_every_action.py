"""Every action in every state of a subscription: the pages of both doors, the command and the API give the same answer.

Allowed actions lead to the same state. Refused ones show the command's sentence on the page, have its code in the API (and tell the SDK
not to retry), and change nothing. A page offers only what is allowed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import select

from billing.customers.archive_business import archive_business
from billing.model import lifecycle
from billing.model.parties import Business
from billing.renewals import dunning
from billing.renewals import renew as renewing
from core.scope import everything
from tests.stories.subscription_states import AGAINST_POLICY, STATES, Rig

OVER, WAIT = "SUBSCRIPTION_INACTIVE", "PREVIOUS_PAYMENT_PENDING"
NO_PAUSE, NOT_PAUSED, PAUSED = "SUBSCRIPTION_NOT_ELIGIBLE_FOR_PAUSE", "SUBSCRIPTION_NOT_PAUSED", "SUBSCRIPTION_ALREADY_PAUSED"
NO_PLAN, ENDS = "INACTIVE_SUBSCRIPTION_PLAN_CHANGE_NOT_SUPPORTED", "PLAN_CHANGE_NOT_ALLOWED_FOR_SCHEDULED_CANCELLATION"
PLANNED, NO_CHANGE = "SCHEDULED_PLAN_CHANGE_EXISTS", "SCHEDULED_PLAN_CHANGE_NOT_FOUND"
VERBS = ("schedule_cancel", "keep", "cancel", "pause", "resume", "change_plan", "keep_plan", "change_method", "edit_billing", "pay_dues")
ONCE_MORE = ("pending", "active", "under way", "on hold", "past due", "paused")
PAUSES = ("pause", "resume", "change_plan", "keep_plan")


def row(keeps: str, pauses: tuple[str, ...], pays: str = "active") -> tuple[str, ...]:
    """The expected answers of a running subscription. `keeps`: the status it keeps. `pauses`: the answers to the actions of PAUSES."""
    status = keeps.removesuffix(", ending")
    return (f"{status}, ending", status, "cancelled", *pauses, pays if status == "on_hold" else keeps, keeps, pays)


# For each action in the order above: the state it leads to, or the error code.
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
    ("under way", "change_method"), ("under way", "pay_dues"),  # "View payment" is shown instead
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
    """Whether the requested state is the present state: no refusal, and no change."""
    ending, over, paid = state.endswith("ending"), state.startswith("cancelled"), state in ("trial", "active", "planned", "ending")
    return {"schedule_cancel": ending, "keep": not ending, "cancel": over, "pay_dues": paid}.get(verb, False)


@pytest.mark.parametrize("state", STATES)
def test_page_command_and_api_give_the_same_answer(rig: Rig, state: str) -> None:
    """On PostgreSQL the actions use one of the doors in turns, because only the statements depend on the engine."""
    unified, business = "", f"/business/{rig.street.acorn}"
    is_sqlite = rig.services.database.is_sqlite
    if not is_sqlite and state not in ONCE_MORE:
        pytest.skip("the same statements as for another state")
    for allowed in (True, False) if is_sqlite else (True,):
        rig.allow(allowed)
        item = rig.make(state)
        again = rig.remember() if is_sqlite else None
        for turn, verb in enumerate(VERBS, STATES.index(state)):
            doors = ("command", unified, business, "api")
            for door in doors if is_sqlite else (doors[turn % 4],):
                if (door == "api" and verb == "pay_dues") or (not allowed and door != unified and verb not in AGAINST_POLICY):
                    continue  # programs pay dues by choosing a method; what no setting rules is asked once with all of them off
                name, before, outcome = f"{state}/{verb}/{door}/{allowed}", rig.facts(item), expected(state, verb, allowed, door)
                said = rig.act(door, verb, item)
                if is_code(outcome):
                    assert 400 <= said.status < 500 and said.code in (outcome, None), (name, said)
                    assert rig.facts(item) == before, name
                    command = said if door == "command" else rig.by_command(verb, item)
                    if door == "command" or (door == "api" and outcome == expected(state, verb, allowed, "command")):
                        assert (said.status, said.code) == (command.status, outcome), (name, said)
                    elif door != "api":
                        assert said.status == command.status and command.sentence in said.text, (name, said, command)
                    continue
                assert said.status in (200, 204, 303), (name, said)
                assert rig.state(item) == outcome, (name, rig.state(item))
                if is_idle(state, verb):
                    assert rig.facts(item) == before, name
                elif again:
                    again()
                else:
                    item = rig.make(state)


def test_the_answers_match_the_table() -> None:
    """The expected answers above agree with `lifecycle.py`."""
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
def test_a_page_offers_only_allowed_actions(rig: Rig, state: str) -> None:
    if not rig.services.database.is_sqlite:
        pytest.skip("what a page draws knows no engine")
    item = rig.make(state)
    for allowed in (True, False):
        rig.allow(allowed)
        wanted = {verb for verb in VERBS if not is_code(expected(state, verb, allowed, "page")) and not is_idle(state, verb)}
        wanted -= {verb for verb in wanted if (state, verb) in NOT_OFFERED}
        for prefix in ("", f"/business/{rig.street.acorn}"):
            assert offered(rig, f"{prefix}/subscriptions/{item}", state) == wanted, (prefix, allowed)
    rig.allow(True)


def offered(rig: Rig, url: str, state: str) -> set[str]:
    """Return the actions behind links and buttons of a subscription's page. A link counts if it leads to the action's form."""
    page = rig.look(url)
    links = {row["href"] for row in page.select("main a[href]")}
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


def test_a_closed_business_offers_no_action(rig: Rig) -> None:
    """Its pages stay readable. Every action is refused at both doors, and its API keys are refused."""
    rows = {state: rig.make(state) for state in ("active", "planned", "ending", "on hold", "paused")}
    with rig.services.database.open(everything("a business closes"), write=True) as db:
        archive_business(db, rig.street.acorn)
    try:
        for state, item in rows.items():
            before = rig.facts(item)
            for prefix in ("", f"/business/{rig.street.acorn}"):
                assert offered(rig, f"{prefix}/subscriptions/{item}", state) == set(), state
                for verb in VERBS:
                    said = rig.by_page(prefix, verb, item)
                    assert said.status == 403 and re.search("clos", said.text), (state, verb, prefix, said)
            assert rig.by_api("cancel", item).code == "BUSINESS_ARCHIVED" and rig.facts(item) == before
        taken = rig.services.gateway.movements()
        for item in rows.values():
            rig.renew(item)
        renewing.run_due(rig.processor)
        dunning.run_due(rig.processor)
        assert rig.services.gateway.movements() == taken  # it charges nothing more; scheduled endings happened
        assert rig.state(rows["ending"]) == "cancelled, ending" and rig.state(rows["active"]) == "active"
    finally:
        with rig.services.database.open(everything("it opens again"), write=True) as db:
            db.scalar(select(Business).where(Business.business_id == rig.street.acorn)).archived_at = None
