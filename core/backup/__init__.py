"""Backups that check themselves: `flask backup DIR` writes one, `flask restore DIR` loads it, `--check` compares it with a database.

A backup is a directory: the database (`database.sqlite3`, or `database.dump` of pg_dump), in test mode the sandbox's books, and
`manifest.json`, written last, with the rows of every table and a hash over every document at the same moment.
"""

from __future__ import annotations

from core.backup.cli import register

__all__ = ["register"]
