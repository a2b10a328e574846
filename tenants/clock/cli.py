"""`flask --app wsgi clock`: show the billing clock of a test deployment, turn it forward, put it back."""

from __future__ import annotations

from datetime import datetime, timedelta

import click
from flask import Flask
from flask.cli import with_appcontext

from billing.passing import happened, next_renewal
from core import clock
from core.errors import Invalid
from core.scope import everything
from core.shared_clock import SharedClock
from core.web import House
from tenants.clock.moments import checked, later, noon
from tenants.clock.turning import Turning

WORDS = {"subscription.renewed": "renewed", "subscription.on_hold": "on hold", "subscription.cancelled": "cancelled",
         "subscription.expired": "finished", "payment.failed": "declined"}


def register(app: Flask, house: House, shared: SharedClock, turning: Turning) -> None:
    @app.cli.command("clock")
    @click.option("--forward", metavar="SPAN", help="So much later: 31d, 2w, 3m, 1y.")
    @click.option("--to", metavar="DAY", help="To noon (UTC) of a day, as 2027-03-01.")
    @click.option("--next", "to_next", is_flag=True, help="To the next renewal.")
    @click.option("--reset", is_flag=True, help="Back to real time. What was billed meanwhile keeps its dates.")
    @with_appcontext
    def command(forward: str | None, to: str | None, to_next: bool, reset: bool) -> None:
        """Show or turn the billing clock of a test deployment; what falls due on the way happens on its day."""
        if not house.settings.is_test:
            raise click.ClickException("The clock is turned in test deployments only; PORTAL_MODE is live.")
        if sum((bool(forward), bool(to), to_next, reset)) > 1:
            raise click.UsageError("Choose one of --forward, --to, --next and --reset.")
        shared.follow()
        if reset:
            shared.reset()
        elif forward or to or to_next:
            try:
                goal = later(clock.now(), forward) if forward else noon(to) if to else _next(house)
                _go(house, shared, turning, checked(goal, clock.now(), clock.wall()))
            except Invalid as error:
                raise click.ClickException(" ".join(error.fields.values())) from None
        click.echo(said())


def said() -> str:
    """One line: what time it is here."""
    ahead = clock.offset()
    days = round(ahead / timedelta(days=1))
    far = f"{days} days ahead of real time" if days > 1 else "turned" if ahead else "real time"
    return f"It is {clock.now():%Y-%m-%d %H:%M} UTC here ({far})."


def _next(house: House) -> datetime:
    with house.database.open(everything("the next renewal of all")) as db:
        due = next_renewal(db, clock.now())
    if due is None:
        raise Invalid(fields={"next": "Nothing renews here."})
    return due


def _go(house: House, shared: SharedClock, turning: Turning, goal: datetime) -> None:
    start = clock.now()
    shared.head_for(goal)
    try:
        with click.progressbar(length=int((goal - start).total_seconds()), label=f"To {goal:%d %b %Y}") as bar:
            for stop in turning.steps():
                bar.update(int((stop - start).total_seconds()) - bar.pos)
    except BaseException:
        shared.head_for(None)  # stopped by hand: it stays where it is
        raise
    if shared.read().goal is not None:
        raise click.ClickException("The portal is turning its clock already; it goes on to this day.")
    with house.database.open(everything("what happened while the clock was turned")) as db:
        counts = happened(db, start, goal)
    told = ", ".join(f"{counts[one]} {words}" for one, words in WORDS.items() if one in counts)
    click.echo(f"Meanwhile: {told or 'nothing was due'}.")
