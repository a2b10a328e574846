"""Every handler that sends email is marked, so that a slow mail server delays only emails."""

from __future__ import annotations

import inspect
import sys
from typing import Any


def test_handlers_that_send_email_are_marked_and_no_others(services: Any) -> None:
    wrong = []
    for _, name, handler, sends in services.handlers._all:
        owner = getattr(handler, "__self__", None)
        modules = {item.__module__ for item in type(owner).__mro__} if owner is not None else {handler.__module__}
        uses = any(".mailer.send" in inspect.getsource(sys.modules[module]) for module in modules - {"builtins"})
        if sends != uses:
            wrong.append((name, sends))
    assert len([item for item in services.handlers._all if item[3]]) > 30 and not wrong, "give `on` the argument sends=True where it sends"
