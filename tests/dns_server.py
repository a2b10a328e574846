"""A DNS server for tests that answers over UDP from a table (RFC 1035)."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import dns.flags
import dns.message
import dns.rcode
import dns.resolver
import dns.rrset

Zone = dict[tuple[str, str], list[str]]
"""(name, type) → the records as text. A name that has no records of any type does not exist."""


class _Server(socketserver.ThreadingUDPServer):
    daemon_threads = True
    zone: Zone
    fails = False


class _Answer(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        data, out = self.request
        server: Any = self.server
        asked = dns.message.from_wire(data)
        answer = dns.message.make_response(asked)
        answer.flags |= dns.flags.AA | dns.flags.RA
        question = asked.question[0]
        name, kind = question.name.to_text(omit_final_dot=True).lower(), dns.rdatatype.to_text(question.rdtype)
        if server.fails:
            answer.set_rcode(dns.rcode.SERVFAIL)
        elif records := server.zone.get((name, kind)):
            answer.answer.append(dns.rrset.from_text(question.name, 60, "IN", kind, *records))
        elif not any(known == name for known, _ in server.zone):
            answer.set_rcode(dns.rcode.NXDOMAIN)
        out.sendto(answer.to_wire(), self.client_address)


@contextmanager
def name_server(zone: Zone, fails: bool = False) -> Iterator[dns.resolver.Resolver]:
    """Return a resolver that uses only this server. `fails`: it answers SERVFAIL."""
    with _Server(("127.0.0.1", 0), _Answer) as server:
        server.zone, server.fails = zone, fails
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        resolver = dns.resolver.Resolver(configure=False)
        resolver.nameservers, resolver.port, resolver.lifetime = ["127.0.0.1"], server.server_address[1], 20.0
        yield resolver
        server.shutdown()
        thread.join()
