"""The hosted pages of the sandbox, as the routes of `pages.py` and the tests use them."""

from __future__ import annotations

from abc import abstractmethod

from gateways.sandbox import cards, hosted, operations, test_controls
from gateways.sandbox.store import Store


class HostedPages:
    store: Store

    @abstractmethod
    def settle(self) -> None: ...

    def page(self, reference: str) -> hosted.HostedSession:
        """Return the hosted page. Raises NotFound, like all functions of this class."""
        self.settle()
        with self.store.read() as c:
            return hosted.read(c, page=reference)

    def submit_page(self, reference: str, typed: cards.CardForm) -> hosted.HostedSession:
        """Try a card. The page stays open after a decline (`error_code`) or for a challenge (`challenged`).

        Raises Invalid with `fields` when the card is not valid. Nothing is tried in that case.
        """
        card = cards.check(typed)
        with self.store.write() as c:
            operations.settle_due(c)
            page, knob = hosted.submit(c, reference, card)
        if knob == "crash_after":
            test_controls.crash()
        return page

    def leave_page(self, reference: str) -> hosted.HostedSession:
        with self.store.write() as c:
            return hosted.leave(c, reference)

    def challenge(self, reference: str) -> hosted.HostedSession:
        self.settle()
        with self.store.read() as c:
            return hosted.read(c, challenge=reference)

    def answer_challenge(self, reference: str, approved: bool) -> hosted.HostedSession:
        with self.store.write() as c:
            return hosted.answer(c, reference, approved)
