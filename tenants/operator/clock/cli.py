"""`flask --app wsgi clock`: show, move or reset the billing clock of a test deployment."""

from __future__ import annotations

from datetime import datetime, timedelta

import click
from flask import Flask
from flask.cli import with_appcontext

from billing.renewals.time_travel import count_events, next_renewal
from core import clock
from core.errors import Invalid
from core.scope import everything
from core.services import Services
from core.shared_clock import SharedClock
from tenants.operator.clock.moments import checked, later, noon
from tenants.operator.clock.turning import Turning

EVENT_LABELS = {
    "subscription.renewed": "renewed",
    "subscription.on_hold": "on hold",
    "subscription.cancelled": "cancelled",
    "subscription.expired": "finished",
    "payment.failed": "declined",
}


def register(app: Flask, services: Services, shared: SharedClock, turning: Turning) -> None:
    @app.cli.command("clock")
    @click.option("--forward", metavar="SPAN", help="Move forward by a span: 31d, 2w, 3m, 1y.")
    @click.option("--to", metavar="DAY", help="Move to noon UTC of a date, such as 2027-03-01.")
    @click.option("--next", "to_next", is_flag=True, help="Move to the next renewal.")
    @click.option("--reset", is_flag=True, help="Go back to real time. Records created in the meantime keep their dates.")
    @with_appcontext
    def command(forward: str | None, to: str | None, to_next: bool, reset: bool) -> None:
        """Show or move the billing clock of a test deployment. Everything that falls due on the way runs on its day."""
        if not services.settings.is_test:
            raise click.ClickException("The clock can be moved only in test deployments; PORTAL_MODE is live.")
        if sum((bool(forward), bool(to), to_next, reset)) > 1:
            raise click.UsageError("Choose one of --forward, --to, --next and --reset.")
        shared.follow()
        if reset:
            shared.reset()
        elif forward or to or to_next:
            try:
                goal = later(clock.now(), forward) if forward else noon(to) if to else _next(services)
                _go(services, shared, turning, checked(goal, clock.now(), clock.wall()))
            except Invalid as error:
                raise click.ClickException(" ".join(error.fields.values())) from None
        click.echo(clock_status())


def clock_status() -> str:
    """Return one line with the billing time and how far it is ahead."""
    ahead = clock.offset()
    days = round(ahead / timedelta(days=1))
    far = f"{days} days ahead of real time" if days > 1 else "one day ahead of real time" if ahead else "real time"
    return f"The billing clock shows {clock.now():%Y-%m-%d %H:%M} UTC ({far})."


def _next(services: Services) -> datetime:
    with services.database.open(everything("the next renewal of all")) as db:
        due = next_renewal(db, clock.now())
    if due is None:
        raise Invalid(fields={"next": "No subscription renews."})
    return due


def _go(services: Services, shared: SharedClock, turning: Turning, goal: datetime) -> None:
    start = clock.now()
    shared.head_for(goal)
    try:
        with click.progressbar(length=int((goal - start).total_seconds()), label=f"To {goal:%d %b %Y}") as bar:
            for stop in turning.steps():
                bar.update(int((stop - start).total_seconds()) - bar.pos)
    except BaseException:
        shared.head_for(None)  # interrupted: the clock stays where it is
        raise
    if shared.read().goal is not None:
        raise click.ClickException("The clock is already being moved by another process; it continues to this date.")
    with services.database.open(everything("what happened while the clock was turned")) as db:
        counts = count_events(db, start, goal)
    summary = ", ".join(f"{counts[item]} {words}" for item, words in EVENT_LABELS.items() if item in counts)
    click.echo(f"In the meantime: {summary or 'nothing was due'}.")
