"""A business's own domain: its portal, and nothing else, at a host of its own (safety 6.5).

    models.py    rows: a domain, codes on their way, and the sessions that browsers have there
    dns.py       the port to DNS: TXT records of a name
    binding.py   claimed, verified by DNS, looked at again every day, given up
    visiting.py  a code made here and exchanged there; a session that lives by a grant of the browser's session here
    views.py     the gate every request to such a host goes through, and the two ends of coming in
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask

    from core.web import House


def register(app: Flask, house: House) -> None:
    from auth.domains.binding import Binding
    from auth.domains.dns import texts
    from auth.domains.views import bp, gate
    from auth.domains.visiting import forget
    from core.lanes import Lanes
    from core.worker import Tick

    binding = Binding(house.database, house.settings, texts, app.extensions["errands"])
    app.extensions["domains"] = binding
    house.domain_of = binding.serving
    app.before_request(gate)
    app.register_blueprint(bp)
    house.worker.lanes.append(Lanes("domains", house.database, binding.due, lambda business_id, turn: binding.look_again(business_id) > 0,
                                    poll=60.0))
    house.worker.ticks.append(Tick("sessions at domains", timedelta(hours=1), lambda: forget(house.database)))
