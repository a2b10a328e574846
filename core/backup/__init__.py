"""Verified backups: `flask backup DIR` writes one, `flask restore DIR` loads it, `--check` compares it with a database.

A backup is a directory with the database (`database.sqlite3`, or `database.dump` of pg_dump) and, in test mode, the sandbox's
database. `manifest.json` is written last, with the row counts of all tables and a hash of all documents in the same snapshot.
"""

from __future__ import annotations

from core.backup.cli import register

__all__ = ["register"]
