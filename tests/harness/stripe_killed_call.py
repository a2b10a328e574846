"""`python -m tests.harness.stripe_killed_call BASE before|after VERB`: a process that sends one request and kills itself.

The standard input is the pickled pair of account access and request. It dies at the call that moves money: before it is sent, or when its
answer has arrived and was not read.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
from typing import Any

from core.outgoing import Outgoing
from core.settings import Settings
from core.stripe import http_client
from gateways.stripe import StripeKind

ENDINGS = {"charge": "/confirm", "refund": "/refunds", "collect": "/sessions"}


def main(base: str, when: str, verb: str) -> None:
    access, request = pickle.load(sys.stdin.buffer)
    send = http_client.OutgoingHTTPClient.request

    def request_and_die(self: Any, method: str, url: str, *values: Any, **named: Any) -> Any:
        decisive = method == "post" and url.endswith(ENDINGS[verb])
        if decisive and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        answer = send(self, method, url, *values, **named)
        if decisive:
            os.kill(os.getpid(), signal.SIGKILL)
        return answer

    http_client.OutgoingHTTPClient.request = request_and_die
    gateway = StripeKind(Outgoing(Settings(outgoing_loopback=True)), base).open(access)
    getattr(gateway, verb)(request)


if __name__ == "__main__":
    main(*sys.argv[1:])
