"""What the service counts, in Prometheus's text format."""

import bisect
from collections import Counter

BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)  # seconds


class Metrics:
    """Counts since the start of the process."""

    def __init__(self) -> None:
        self.requests: Counter[int] = Counter()  # by status
        self.entities: Counter[str] = Counter()  # by label
        self.characters = 0
        self._seconds = [0] * (len(BUCKETS) + 1)
        self._sum = 0.0

    def answered(self, seconds: float) -> None:
        """Notes how long an answer with entities took."""
        self._seconds[bisect.bisect_left(BUCKETS, seconds)] += 1
        self._sum += seconds

    def text(self, *, waiting: int, batches: int, batched: int) -> str:
        """The page that Prometheus reads.

        Args:
            waiting: requests that wait now.
            batches: batches so far.
            batched: requests in them.
        """
        lines: list[str] = []
        _family(lines, "requests_total", "counter", "Requests to /extract by status.")
        lines += [f'ner_requests_total{{status="{s}"}} {n}' for s, n in sorted(self.requests.items())]
        _family(lines, "entities_total", "counter", "Entities found, by label.")
        lines += [f'ner_entities_total{{label="{_label(k)}"}} {n}' for k, n in sorted(self.entities.items())]
        for name, kind, what, value in (
            ("characters_total", "counter", "Characters tagged.", self.characters),
            ("batches_total", "counter", "Batches that the model worked on.", batches),
            ("batched_requests_total", "counter", "Requests in those batches.", batched),
            ("waiting_requests", "gauge", "Requests that wait for the model.", waiting),
        ):
            _family(lines, name, kind, what)
            lines.append(f"ner_{name} {value}")
        _family(lines, "request_seconds", "histogram", "Seconds from a request to its entities.")
        below = 0
        for bound, number in zip((*map(str, BUCKETS), "+Inf"), self._seconds, strict=True):
            below += number
            lines.append(f'ner_request_seconds_bucket{{le="{bound}"}} {below}')
        lines += [f"ner_request_seconds_sum {self._sum:.6f}", f"ner_request_seconds_count {below}"]
        return "\n".join(lines) + "\n"


def _family(lines: list[str], name: str, kind: str, what: str) -> None:
    lines += [f"# HELP ner_{name} {what}", f"# TYPE ner_{name} {kind}"]


def _label(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
