"""The operator's pages: health of the deployment, queues, failed work, recurring jobs and email delivery results.

access.py      sign-in with the operator secret; core/operator_access.py decides which requests reach the pages
view_model.py  the data of the overview, and what needs attention
labels.py      labels of events, jobs and outcomes
pages.py       `/operator` and the pages below it
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask

    from core.services import Services


def register(app: Flask, services: Services) -> None:
    from core import email_log
    from core.operations import audit
    from core.worker import Tick
    from tenants.operator.pages import make_blueprint

    app.register_blueprint(make_blueprint(services))

    def sweep() -> None:
        email_log.sweep(services.database)
        audit.sweep(services.database)

    services.worker.ticks.append(Tick("old operator records", timedelta(hours=1), sweep))
