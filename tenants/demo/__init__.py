"""`flask --app wsgi demo`: a believable year of eight shops and four people, for a test deployment."""

from __future__ import annotations

from datetime import timedelta

import click
from flask import Flask
from flask.cli import with_appcontext
from sqlalchemy import select

from billing.parties import Business
from core import clock
from core.scope import everything
from core.web import House
from core.worker import Lease
from tenants.demo.shops import SHOPS
from tenants.demo.staff import SAM, hire
from tenants.demo.story import ADA, PEOPLE, scenes
from tenants.demo.world import World


def register(app: Flask, house: House) -> None:
    @app.cli.command("demo")
    @click.option("--if-empty", is_flag=True, help="Do nothing where there is a business already.")
    @with_appcontext
    def demo(if_empty: bool) -> None:
        """Fill a test deployment with a year of believable history."""
        settings = house.settings
        if not settings.is_test:
            raise click.ClickException("The demo is for test deployments; PORTAL_MODE is live.")
        if house.gateway is None:
            raise click.ClickException("The demo pays with test cards; it needs PORTAL_GATEWAY=sandbox.")
        if if_empty and _has_business(house):
            click.echo("There are businesses here already; the demo is left out.")
            return
        if _is_served(house):
            # its worker would renew the past at today's date, and write letters about it
            raise click.ClickException("This portal is running. Stop it, then run the demo.")
        world = fill(house)
        _say(house, world)


def fill(house: House, progress: bool = True) -> World:
    """Play the year. The billing clock is turned meanwhile and back at the end, whatever happens."""
    was, world = clock.offset(), World(house, today=clock.now())
    todo = list(scenes(world))
    try:
        with click.progressbar(length=len(todo), label="A year of history", hidden=not progress) as bar:
            for _ in world.play(todo):
                bar.update(1)
        hire(house, world.shops)
    finally:
        clock.turn(was)
        world.hush()
    return world


def _has_business(house: House) -> bool:
    with house.database.open(everything("is there a business")) as db:
        return db.scalar(select(Business.business_id).limit(1)) is not None


def _is_served(house: House) -> bool:
    with house.database.open(everything("is a worker running")) as db:
        return db.scalar(select(Lease.name).where(Lease.until > clock.wall() - timedelta(seconds=2)).limit(1)) is not None


def _say(house: House, world: World) -> None:
    url = house.settings.base_url
    others = ", ".join(one.email for one in PEOPLE[1:])
    bought = len(SHOPS) - 1  # the last only has Ada's address, and asks to appear
    click.echo(f"""
{bought} shops and a year of subscriptions, purchases and refunds are here.

  Sign in        {url}/login
  as             {ADA.email}, who bought from all of them
  or as          {others}
  Letters        {url}/mailbox  (links and codes for signing in arrive there)
  Console        {url}/console  (as {SAM}, who works at five of the shops)
  One shop       {url}/login/{world.shops["birch"]}  (Birch Hosting's own door)
""".rstrip())
