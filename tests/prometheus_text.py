"""Parse Prometheus's text format."""

from __future__ import annotations

from typing import Any

from flask import Flask
from prometheus_client.parser import text_string_to_metric_families


class Scrape:
    """`scrape("portal_queue_items", queue="webhooks")` is the value of that sample; it must be there."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.types: dict[str, str] = {}
        self.samples: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
        for family in text_string_to_metric_families(text):
            assert family.name not in self.types, f"{family.name} twice"
            self.types[family.name] = family.type
            for sample in family.samples:
                key = sample.name, frozenset(sample.labels.items())
                assert key not in self.samples, f"{key} twice"
                self.samples[key] = sample.value

    def __call__(self, name: str, **labels: str) -> float:
        return self.samples[name, frozenset(labels.items())]

    def get(self, name: str, **labels: str) -> float:
        """Return the value, or 0 if it was not counted yet."""
        return self.samples.get((name, frozenset(labels.items())), 0.0)

    @property
    def names(self) -> set[str]:
        return {name for name, _ in self.samples}

    def labels(self, name: str) -> list[dict[str, str]]:
        return [dict(labels) for found, labels in self.samples if found == name]


def scrape(app: Flask, fresh: bool = True, patience: float = 60.0) -> Scrape:
    """Return the metrics. `fresh` False: use the cache, which queries the database every ten seconds only. `patience`: seconds for the

    database, more than in production because other tests load the machine.
    """
    services: Any = app.extensions["portal"]
    services.metrics.patience = patience
    if fresh:
        services.metrics._queried_at = -1e9
    answer = app.test_client().get("/metrics")
    assert answer.status_code == 200
    return Scrape(answer.text)
