"""Pages of other servers where a customer enters or confirms a payment method: who may open one, and where it returns to."""

from __future__ import annotations

from datetime import timedelta
from urllib.parse import urlsplit

from auth import sessions
from core import clock
from core.links import external, here
from core.request_context import services
from core.security import allow_form_to

RECENT_SESSION = timedelta(days=1)


def needs_proof() -> bool:
    """Return whether a new card needs a recent sign-in: when the session is older than a day (safety 2.7).

    Portal links of a business have no person who could sign in again.
    """
    visit = sessions.current_visit()
    if visit is None or visit.link or not (visit.is_person or visit.at_domain):
        return False
    return clock.wall() - visit.created_at > RECENT_SESSION and not sessions.proved_within(visit)


def return_url() -> str:
    """Return the URL template that hosted pages and banks return to: the payment page of the current portal."""
    return external(here("home")) + "payments/{payment_id}"


def allow_form_targets(*links: str | None) -> None:
    """Allow the origins of `links` in the CSP `form-action`. Browsers apply it to redirects of form submissions too."""
    ours = services().settings.base_url
    origins = {f"{parts.scheme}://{parts.netloc}" for parts in map(urlsplit, (link for link in links if link))}
    origins |= services().processor.accounts.page_origins()
    allow_form_to(*sorted(origins - {ours}))
