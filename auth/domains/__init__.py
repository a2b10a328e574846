"""Custom domains: a business's portal, and nothing else, at its own host (safety 6.5).

models.py           rows: domains, sign-in codes in transit, and sessions at domains
dns.py              DNS lookups of TXT records
verification.py     add a domain, verify it by DNS, recheck it daily, remove it
session_handoff.py  a code issued here and exchanged there; the session there depends on a grant of the session here
views.py            the check of every request to such a host, and both ends of the handoff
certificates.py     which hosts may get a TLS certificate, for the proxy in front
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask

    from core.services import Services


def register(app: Flask, services: Services) -> None:
    from auth.domains import certificates
    from auth.domains.dns import lookup_txt
    from auth.domains.session_handoff import sweep
    from auth.domains.verification import Binding
    from auth.domains.views import bp, gate
    from core.lanes import Lanes
    from core.worker import Tick

    binding = Binding(services.database, services.settings, lookup_txt, app.extensions["background_calls"])
    app.extensions["domains"] = binding
    services.domain_of = binding.serving
    app.before_request(gate)
    app.register_blueprint(bp)
    certificates.register(app, binding)
    services.worker.lanes.append(
        Lanes("domains", services.database, binding.due, lambda business_id, turn: binding.recheck(business_id) > 0, poll=60.0)
    )
    services.metrics.add_queue("domains", binding.backlog)
    services.worker.ticks.append(Tick("sessions at domains", timedelta(hours=1), lambda: sweep(services.database)))
