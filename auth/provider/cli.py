"""`flask --app wsgi keys rotate`"""

from __future__ import annotations

import click
from flask import Flask
from flask.cli import AppGroup

from auth.provider import keys
from core.errors import Conflict
from core.web import House


def add_commands(app: Flask, house: House) -> None:
    group = AppGroup("keys", help="The keys that sign what apps are told.")

    @group.command("rotate")
    @click.option("--now", "at_once", is_flag=True, help="The old key got into other hands: drop it at once.")
    def rotate(at_once: bool) -> None:
        """Sign with the next key from now on, and publish a new next one."""
        try:
            kid = keys.rotate(house.database, house.settings, at_once=at_once)
        except Conflict as early:
            raise click.ClickException(early.sentence) from early
        click.echo(f"{kid} signs from now on.")

    app.cli.add_command(group)
