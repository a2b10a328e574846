"""`flask --app wsgi keys rotate`"""

from __future__ import annotations

import click
from flask import Flask
from flask.cli import AppGroup

from auth.oidc_server import keys
from core.errors import Conflict
from core.services import Services


def add_commands(app: Flask, services: Services) -> None:
    group = AppGroup("keys", help="Manage the keys that sign ID tokens and logout tokens.")

    @group.command("rotate")
    @click.option("--now", "at_once", is_flag=True, help="The old key was compromised: stop publishing it immediately.")
    def rotate(at_once: bool) -> None:
        """Start signing with the next key and publish a new next key."""
        try:
            kid = keys.rotate(services.database, services.settings, at_once=at_once)
        except Conflict as early:
            raise click.ClickException(early.sentence) from early
        click.echo(f"Now signing with key {kid}.")

    app.cli.add_command(group)
