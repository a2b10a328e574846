"""Opaque list cursors in links. A cursor holds the position of the last row; it grants no access."""

from __future__ import annotations

import base64
import binascii
from datetime import datetime

from flask_babel import gettext as _

from core.errors import BadRequest


def write(at: datetime, item: str) -> str:
    return base64.urlsafe_b64encode(f"{at.isoformat()}|{item}".encode()).decode().rstrip("=")


def read(text: str | None) -> tuple[datetime, str] | None:
    """Return (at, id), or None without a cursor. Raises BadRequest for a malformed cursor."""
    if not text:
        return None
    try:
        at, _bar, item = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode().partition("|")
        moment = datetime.fromisoformat(at)
        if moment.tzinfo is None or not item or len(item) > 100:
            raise ValueError
    except (ValueError, binascii.Error, UnicodeDecodeError):
        raise BadRequest(
            "INVALID_CURSOR", _("This page can’t be found because its link is incomplete. Go back to the first page.")
        ) from None
    return moment, item
