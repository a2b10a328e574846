"""Where a page of a list ends, as an opaque word in its link. Nobody has to trust it: it only says where to go on."""

from __future__ import annotations

import base64
import binascii
from datetime import datetime

from flask_babel import gettext as _

from core.errors import BadRequest


def write(at: datetime, one: str) -> str:
    return base64.urlsafe_b64encode(f"{at.isoformat()}|{one}".encode()).decode().rstrip("=")


def read(text: str | None) -> tuple[datetime, str] | None:
    """(at, id), or None for no cursor. Raises BadRequest for one that was cut or made up."""
    if not text:
        return None
    try:
        at, _bar, one = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode().partition("|")
        moment = datetime.fromisoformat(at)
        if moment.tzinfo is None or not one or len(one) > 100:
            raise ValueError
    except (ValueError, binascii.Error, UnicodeDecodeError):
        raise BadRequest(
            "INVALID_CURSOR", _("This page of the list cannot be found: its link is cut off. Start again at the newest.")
        ) from None
    return moment, one
