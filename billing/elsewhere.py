"""What billing needs from another billing system, for subscriptions that it collects: in billing's words, as in `ports.py`.

Implementations live beside the doors (`tenants/elsewhere/`) and are handed in by `wsgi.py`. Rules:

* `send` under the same key has one effect there, as far as that system can promise it; so whoever sends again looks first;
* "unknown" is an answer: what timed out raises nothing;
* what is true is what `learn` reads: it asks the system and writes what it says, before it returns.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from billing.loaded import Record
from core.scope import Actor

VERBS: dict[str, frozenset[str]] = {
    "dodo": frozenset({"cancel", "keep", "end", "pause", "resume", "change_plan", "keep_plan", "change_method", "edit_billing"}),
}
"""System → what can be asked of it. A system that is not here was only read from a file: acts are refused in words."""


def can(collected_by: str, verb: str) -> bool:
    """Whether `verb` can be done for a subscription, here or by whoever collects it. The buttons ask this, and the commands."""
    return collected_by == "us" or verb in VERBS.get(collected_by, ())


@dataclass(frozen=True)
class Act:
    """`wish`: the verb's parameters, JSON. `by_customer`: whether the customer asked, and not the business."""

    business_id: str
    subscription_id: str
    verb: str
    wish: Mapping[str, Any]
    key: str
    by_customer: bool = True


@dataclass(frozen=True)
class Said:
    """`done`: accepted (`learn` shows whether it is in force). `refused`: it will not happen, `words` say why. `unknown`: no answer."""

    state: Literal["done", "refused", "unknown"]
    words: str | None = None
    link: str | None = None


class Elsewhere(Protocol):
    name: str

    def send(self, act: Act) -> Said: ...

    def learn(self, business_id: str, subscription_id: str, actor: Actor | None = None) -> Record | None:
        """Read a subscription there and keep it here. None: it knows none. Raises core.errors.Unavailable."""
        ...

    def preview(self, business_id: str, subscription_id: str, wish: Mapping[str, Any]) -> dict[str, Any]:
        """What a plan change costs there (contract §2.3 Preview). Raises core.errors.Unavailable, Conflict with its words."""
        ...

    def paper(self, business_id: str, noun: Literal["payments", "refunds"], id: str, keep: Callable[[bytes], bytes]) -> bytes:
        """The PDF of a payment's invoice or of a refund, given to `keep`, which returns what is kept.

        Raises core.errors.Unavailable; DOCUMENT_BEING_FETCHED where it is fetched (and kept) while nobody waits.
        """
        ...
