"""Report every error that is logged with a traceback to Sentry, if SENTRY_DSN is set.

Nothing is imported otherwise. A report holds only listed fields, so that a new feature of the library cannot add more. It never
holds headers, cookies, queries, forms, local variables, client addresses or host names.
"""

from __future__ import annotations

import time
from collections.abc import MutableMapping
from typing import Any

from core import log
from core.metrics.exposition import version
from core.setting_values import Misconfigured
from core.settings import Settings

AGAIN_AFTER = 60.0  # seconds until the same error from the same place is reported again
_NAME = "error reports"
_EVENT = ("event_id", "timestamp", "platform", "level", "logger", "release", "environment", "tags", "sdk", "type")
_FRAME = ("filename", "function", "module", "lineno", "in_app", "context_line", "pre_context", "post_context")
_TAGS = ("event", "endpoint", "request_id", "job", "handler", "event_type", "lanes", "metric")


def init(settings: Settings) -> None:
    """Start reporting, or stop it without the setting. Raises Misconfigured if the library is not installed."""
    log.observers.pop(_NAME, None)
    if not settings.sentry_dsn:
        return
    try:
        import sentry_sdk
    except ImportError:
        raise Misconfigured("SENTRY_DSN is set, but the library is missing: pip install '.[sentry]'") from None
    try:
        client = sentry_sdk.Client(
            dsn=settings.sentry_dsn,
            release=f"customer-portal@{version()}",
            environment=settings.mode,
            send_default_pii=False,
            include_local_variables=False,
            max_request_body_size="never",
            default_integrations=False,
            auto_enabling_integrations=False,
            before_send=_clean,
            max_breadcrumbs=0,
            auto_session_tracking=False,
            shutdown_timeout=2,
        )
    except sentry_sdk.utils.BadDsn:
        raise Misconfigured("SENTRY_DSN is not a Sentry DSN, such as https://key@sentry.example/1.") from None
    log.observers[_NAME] = _Reporter(client, sentry_sdk.utils.event_from_exception)


class _Reporter:
    def __init__(self, client: Any, describe: Any) -> None:
        self.client, self.describe = client, describe
        self._last: dict[tuple[str, str], float] = {}

    def __call__(self, entry: MutableMapping[str, Any], error: BaseException) -> None:
        key = str(entry.get("event")), type(error).__name__
        now = time.monotonic()
        if now - self._last.get(key, -AGAIN_AFTER) < AGAIN_AFTER:
            return
        self._last[key] = now
        event, hint = self.describe(error, client_options=self.client.options)
        event["tags"] = {name: log.clean(str(entry[name]), 200) for name in _TAGS if entry.get(name)}
        event["level"] = "error"
        self.client.capture_event(event, hint)


def _clean(event: Any, _hint: Any) -> Any:
    """Return the event reduced to the fields that may leave the deployment."""
    fields = {name: event[name] for name in _EVENT if name in event}
    errors = (event.get("exception") or {}).get("values") or []
    fields["exception"] = {"values": [_error(error) for error in errors]}
    return fields


def _error(item: dict[str, Any]) -> dict[str, Any]:
    frames = (item.get("stacktrace") or {}).get("frames") or []
    return {
        "type": item.get("type"),
        "module": item.get("module"),
        "value": message(str(item.get("value") or "")),
        "stacktrace": {"frames": [{name: frame[name] for name in _FRAME if name in frame} for frame in frames]},
    }


def message(text: str) -> str:
    """Return the first line of an error's message, redacted. Database errors have the statement and its values in later lines."""
    first = text.strip().partition("\n")[0].partition("[SQL")[0]
    return log.clean(first, 300)
