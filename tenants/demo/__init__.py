"""`flask --app wsgi demo`: fills a test deployment with a year of sample data of eight businesses and four customers."""

from __future__ import annotations

from datetime import timedelta

import click
from flask import Flask
from flask.cli import with_appcontext
from sqlalchemy import select

from billing.model.parties import Business
from core import clock
from core.leases import Lease
from core.scope import everything
from core.services import Services
from tenants.demo.actions import World
from tenants.demo.businesses import BUSINESSES
from tenants.demo.staff import SAM, hire
from tenants.demo.year import ADA, PEOPLE, scenes


def register(app: Flask, services: Services) -> None:
    @app.cli.command("demo")
    @click.option("--if-empty", is_flag=True, help="Do nothing if a business exists.")
    @with_appcontext
    def demo(if_empty: bool) -> None:
        """Fill a test deployment with a year of sample data."""
        settings = services.settings
        if not settings.is_test:
            raise click.ClickException("The demo is only for test deployments. PORTAL_MODE is live.")
        if services.gateway is None:
            raise click.ClickException("The demo pays with test cards. Set PORTAL_GATEWAY=sandbox.")
        if if_empty and _has_business(services):
            click.echo("This deployment already has businesses. The demo was skipped.")
            return
        if _is_served(services):
            # its worker would process past renewals at today's date and send emails about them
            raise click.ClickException("The portal is running. Stop it before you run the demo.")
        world = fill(services)
        _print_summary(services, world)


def fill(services: Services, progress: bool = True) -> World:
    """Create the sample data. The billing clock is moved meanwhile and always reset at the end."""
    offset, world = clock.offset(), World(services, today=clock.now())
    remaining = list(scenes(world))
    try:
        with click.progressbar(length=len(remaining), label="A year of history", hidden=not progress) as bar:
            for _ in world.play(remaining):
                bar.update(1)
        hire(services, world.businesses)
    finally:
        clock.turn(offset)
        world.mark_events_done()
    return world


def _has_business(services: Services) -> bool:
    with services.database.open(everything("is there a business")) as db:
        return db.scalar(select(Business.business_id).limit(1)) is not None


def _is_served(services: Services) -> bool:
    with services.database.open(everything("is a worker running")) as db:
        return db.scalar(select(Lease.name).where(Lease.until > clock.wall() - timedelta(seconds=2)).limit(1)) is not None


def _print_summary(services: Services, world: World) -> None:
    url = services.settings.base_url
    others = ", ".join(item.email for item in PEOPLE[1:])
    count = len(BUSINESSES) - 1  # the last business only has Ada's address and waits for her approval
    click.echo(
        f"""
Created {count} businesses with a year of subscriptions, purchases and refunds.

  Sign in        {url}/login
  as             {ADA.email}, a customer of all businesses
  or as          {others}
  Test emails    {url}/mailbox  (sign-in links and codes)
  Console        {url}/console  (as {SAM}, a team member of five businesses)
  One business   {url}/login/{world.businesses["birch"]}  (the portal of Birch Hosting)
""".rstrip()
    )
