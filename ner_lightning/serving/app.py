"""The service's HTTP application: /extract, /health, /metrics, its description, and a page to try it."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, PlainTextResponse, Response

from ner_lightning.errors import UserError
from ner_lightning.inference.result import Tagged
from ner_lightning.inference.selection import Selection, selection
from ner_lightning.serving.batcher import Batcher, Full
from ner_lightning.serving.limits import BodyLimit, problem
from ner_lightning.serving.page import docs_page, policy, try_page
from ner_lightning.serving.schema import STATUSES, Extraction, Extractions, Health, Query

BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)  # seconds
SELECTION = (
    "min_score: one number above 0 and at most 1, or one for each label, where '*' stands for the others; "
    "overlaps needs min_score"
)
Work = Callable[..., Sequence[Tagged]]  # texts, and options as of `NERTagger`


@dataclass(frozen=True)
class RequestLimits:
    """What the service accepts.

    Attributes:
        body: largest body of a request, in bytes.
        characters: most characters of a request's texts together.
        waiting: most requests that wait; one more is answered 429.
        seconds: how long a request may take, waiting included.
        batch: characters of a batch.
    """

    body: int = 1_000_000
    characters: int = 100_000
    waiting: int = 128
    seconds: float = 30.0
    batch: int = 16_000


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
        self.waiting = Gauge("waiting_requests", "Requests that wait for the model.", **common)
        self.seconds = Histogram(
            "request_seconds", "Seconds from a request to its entities.", buckets=BUCKETS, **common
        )

    def count_batch(self, requests: int) -> None:
        """Counts a batch with this number of requests."""
        self.batches.inc()
        self.batched.inc(requests)


def make_app(
    work: Work,
    *,
    model: str,
    labels: Sequence[str],
    limits: RequestLimits | None = None,
    selected: Selection | None = None,
) -> FastAPI:
    """Makes the application.

    Args:
        work: tags texts.
        model: the model's name.
        labels: its entity types.
        limits: what the service accepts; None: the defaults.
        selected: which entities are predicted if a request does not say; None: the best tag sequence's.
    """
    bounds = limits or RequestLimits()
    counters = Counters()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        batcher: Batcher[Tagged] = Batcher(
            work, waiting=bounds.waiting, characters=bounds.batch, on_batch=counters.count_batch
        )
        counters.waiting.set_function(lambda: batcher.waiting)
        app.state.batcher = batcher
        yield
        await batcher.close()

    app = FastAPI(title="ner-lightning", summary=model, docs_url=None, redoc_url=None, lifespan=lifespan)
    app.add_middleware(BodyLimit, limit=bounds.body, seconds=bounds.seconds)
    _explain_errors(app)
    _add_extract(app, bounds, counters, partial(selection, types=labels, default=selected))
    _add_monitoring(app, counters, Health(status="ok", model=model, labels=list(labels)))
    _add_pages(app, model, labels)
    return app


def _add_extract(
    app: FastAPI, bounds: RequestLimits, counters: Counters, checked: Callable[..., Selection | None]
) -> None:
    answers: dict[int | str, dict[str, Any]] = {s: {"description": d} for s, d in STATUSES.items()}

    @app.post("/extract", responses=answers, response_model=Extractions, response_model_exclude_none=True)
    async def extract(query: Query) -> Any:
        """Finds the entities of a text, or of several."""
        began = time.perf_counter()
        texts = query.all
        size = sum(map(len, texts))
        if size > bounds.characters:
            reason = f"{size:,} characters are more than {bounds.characters:,}; send less at a time"
            return problem(413, reason)
        try:
            checked(query.min_score, query.overlaps)
        except UserError:
            return problem(422, SELECTION)
        try:
            async with asyncio.timeout(bounds.seconds):
                results = await app.state.batcher.submit(texts, **query.options) if texts else []
        except Full:
            reason = "too many requests are waiting; try again in a second"
            return problem(429, reason, **{"retry-after": "1"})
        except TimeoutError:
            return problem(504, f"it took more than {bounds.seconds:g} seconds; send less at a time")
        counters.characters.inc(size)
        found = list(map(Extraction.of, results))
        for entity in (entity for extraction in found for entity in extraction.entities):
            counters.entities.labels(entity.label).inc()
        counters.seconds.observe(time.perf_counter() - began)
        return Extractions(results=found)


def _add_monitoring(app: FastAPI, counters: Counters, state: Health) -> None:
    @app.middleware("http")
    async def count(request: Request, call_next: Callable[[Request], Any]) -> Response:
        response: Response = await call_next(request)
        if request.url.path == "/extract":
            counters.requests.labels(response.status_code).inc()
        return response

    @app.get("/health")
    async def health() -> Health:
        """Answers as long as the service runs."""
        return state

    @app.get("/metrics", response_class=PlainTextResponse)
    async def metrics() -> Response:
        """Counts since the start, for Prometheus."""
        return Response(generate_latest(counters.registry), media_type=CONTENT_TYPE_LATEST)


def _add_pages(app: FastAPI, model: str, labels: Sequence[str]) -> None:
    @app.get("/", include_in_schema=False)
    async def index() -> HTMLResponse:
        return _html(try_page(model, labels))

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return _html(docs_page(app.openapi()))


def _html(page: str) -> HTMLResponse:
    return HTMLResponse(page, headers={"content-security-policy": policy(page)})


def _explain_errors(app: FastAPI) -> None:
    """Names mistakes without repeating what was sent, which may be long or not valid text."""

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        status = 400 if first["type"] == "json_invalid" else 422
        where = ".".join(str(part) for part in first["loc"] if part != "body")[:80]
        return problem(status, f"{where}: {first['msg']}" if where else str(first["msg"]))

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> Response:
        return problem(error.status_code, str(error.detail), **dict(error.headers or {}))

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> Response:
        return problem(500, "internal error; the service's log has the details")
