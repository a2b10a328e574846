"""Error codes of provider sign-in. `error_messages.error_message` maps each to a message."""

from __future__ import annotations

CODES = frozenset(
    {
        "declined",  # by the person or the provider
        "waiting",  # the request is running without a response yet
        "unreachable",
        "unreadable",  # no valid response
        "wrong_issuer",
        "wrong_state",
        "wrong_token",  # wrong issuer, audience or purpose
        "no_address",
        "not_a_customer",
        "needs_signing_in",
        "taken",
        "address_taken",  # the account there, or its address, belongs to another person here
    }
)


class ProviderError(Exception):
    """`code`: one of CODES. `detail`: for the log and the business's test page, never a secret."""

    def __init__(self, code: str, detail: str = "") -> None:
        if code not in CODES:
            raise ValueError(code)
        self.code, self.detail = code, detail
        super().__init__(f"{code}: {detail}" if detail else code)
