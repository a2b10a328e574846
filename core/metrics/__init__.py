"""Metrics for Prometheus: counters of this process, and figures of the whole deployment from the database.

`instruments.py` holds counters and histograms. `snapshot.py` reads queues, jobs and due work from the database, at most every ten
seconds. `exposition.py` combines both for `/metrics` of a serving process, or for `PORTAL_METRICS_LISTEN` of a worker
(`listener.py`). Labels come from fixed lists and contain no ids and no addresses.
"""

from __future__ import annotations

from core.metrics import multiprocess

multiprocess.prepare()  # before prometheus_client is imported for the first time
