"""Counters: what the service has counted since its start, for Prometheus."""

import os
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)  # seconds
WORKER_COUNTS = "PROMETHEUS_MULTIPROC_DIR"  # where prometheus_client keeps the counts of several workers


class Counters:
    """What the service has counted since its start, for Prometheus."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        common: dict[str, Any] = {"namespace": "ner", "registry": self.registry}
        self.requests = Counter("requests", "Requests to /extract by status.", ["status"], **common)
        self.entities = Counter("entities", "Entities found, by label.", ["label"], **common)
        self.characters = Counter("characters", "Characters tagged.", **common)
        self.batches = Counter("batches", "Batches that the model worked on.", **common)
        self.batched = Counter("batched_requests", "Requests in those batches.", **common)
        self.waiting = Gauge(
            "waiting_requests", "Requests that wait for the model.", multiprocess_mode="livesum", **common
        )
        self.seconds = Histogram(
            "request_seconds", "Seconds from a request to its entities.", buckets=BUCKETS, **common
        )

    def count_batch(self, requests: int) -> None:
        """Counts a batch with this number of requests."""
        self.batches.inc()
        self.batched.inc(requests)

    def count_response(self, path: str, status: int) -> None:
        """Counts a response, if it is one of /extract."""
        if path == "/extract":
            self.requests.labels(status).inc()

    def text(self) -> bytes:
        """All counts; those of all workers together, if there are several."""
        registry = self.registry
        if WORKER_COUNTS in os.environ:
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry)
