"""Asks the REST service of VIES whether a VAT ID is registered (`check-vat-number`).

With the VAT ID of the business that asks, a valid answer has a consultation number (`requestIdentifier`), which proves the check.
"""

from __future__ import annotations

import json
from typing import Any

from billing.subscriptions.tax_id_checks import RegisterAnswer
from core.outgoing import HostUnreachable, Outgoing, RequestRefused

TIMEOUT = 10.0  # seconds
MAX_BYTES = 16 * 1024
ANSWERS = ("VALID", "INVALID")
REQUESTER_REFUSED = "INVALID_REQUESTER_INFO"


def ask_vies(outgoing: Outgoing, url: str, number: str, requester: str | None) -> RegisterAnswer:
    """Return the answer for a VAT ID with its prefix. `requester`: the VAT ID of the business, with its prefix."""
    answer = _ask(outgoing, url, number, requester)
    if requester and answer.error == REQUESTER_REFUSED:  # the business's own ID is not in VIES: then there is no consultation number
        return _ask(outgoing, url, number, None)
    return answer


def _ask(outgoing: Outgoing, url: str, number: str, requester: str | None) -> RegisterAnswer:
    sent = {"countryCode": number[:2], "vatNumber": number[2:]}
    if requester:
        sent |= {"requesterMemberStateCode": requester[:2], "requesterNumber": requester[2:]}
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    address = f"{url.rstrip('/')}/check-vat-number"
    try:
        response = outgoing.request(
            "POST", address, headers=headers, content=json.dumps(sent).encode(), timeout=TIMEOUT, max_bytes=MAX_BYTES
        )
    except (RequestRefused, HostUnreachable) as problem:
        return RegisterAnswer(None, error=str(problem))
    try:
        body = json.loads(response.body)
    except ValueError:
        body = None
    if response.truncated or not isinstance(body, dict):
        return RegisterAnswer(None, error=f"status {response.status} without an answer")
    return _read(body, response.status)


def _read(body: dict[str, Any], status: int) -> RegisterAnswer:
    """Read an answer. Only a clear yes or no counts; an error of a member state is no answer."""
    wrappers = body.get("errorWrappers")
    if isinstance(wrappers, list) and wrappers:
        first = wrappers[0] if isinstance(wrappers[0], dict) else {}
        return RegisterAnswer(None, error=str(first.get("error") or "error")[:100])
    valid, told = body.get("valid"), body.get("userError")
    if status != 200 or not isinstance(valid, bool) or (told and told not in ANSWERS):
        return RegisterAnswer(None, error=str(told or f"status {status}")[:100])
    return RegisterAnswer(valid, _text(body, "requestIdentifier"), _text(body, "name"))


def _text(body: dict[str, Any], name: str) -> str | None:
    """Return a text of the answer; VIES writes `---` for what a state does not tell."""
    found = body.get(name)
    text = " ".join(found.split())[:200] if isinstance(found, str) else ""
    return text if text.strip("-") else None
