"""What may go wrong with a provider, as codes; the page says each in words (`views.words`)."""

from __future__ import annotations

CODES = frozenset({
    "declined",  # the person said no, or the provider did
    "waiting",  # it runs, and there is no answer yet
    "unreachable", "unreadable",  # no answer, or none that makes sense
    "wrong_issuer", "wrong_state", "wrong_token",  # not from whom or for what it says
    "no_address", "not_a_customer", "needs_signing_in",
    "taken", "address_taken",  # the account there, or its address, is somebody else's here
})


class Mistake(Exception):
    """`code` is one of CODES; `detail` is for the log and the business's own test page, never a secret."""

    def __init__(self, code: str, detail: str = "") -> None:
        if code not in CODES:
            raise ValueError(code)
        self.code, self.detail = code, detail
        super().__init__(f"{code}: {detail}" if detail else code)
