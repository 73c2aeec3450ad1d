"""The service's HTTP application: /extract, /health, /metrics, its description, and a page to try it."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Any

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
from pydantic import BaseModel, ConfigDict, Field, model_validator
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, PlainTextResponse, Response

from ner_lightning.inference.result import Tagged
from ner_lightning.serving.batcher import Batcher, Full
from ner_lightning.serving.limits import BodyLimit, problem
from ner_lightning.serving.page import docs_page, policy, try_page

_HALF = re.compile(r"[\ud800-\udfff]")
BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)  # seconds
Work = Callable[[list[str]], Sequence[Tagged]]


@dataclass(frozen=True)
class Limits:
    """What the service takes on.

    Attributes:
        body: most bytes of a request's body.
        characters: most characters of a request's texts together.
        waiting: most requests that wait; one more is answered 429.
        seconds: how long a request may take, its waiting included.
        batch: characters of a batch.
    """

    body: int = 1_000_000
    characters: int = 100_000
    waiting: int = 128
    seconds: float = 30.0
    batch: int = 16_000


class Query(BaseModel):
    """A text, or several."""

    model_config = ConfigDict(extra="forbid", strict=True)
    text: Annotated[str | None, Field(description="a text")] = None
    texts: Annotated[list[str] | None, Field(description="instead of text: several")] = None

    @model_validator(mode="after")
    def _one_of_them(self) -> "Query":
        if (self.text is None) == (self.texts is None):
            raise ValueError("give either text or texts")
        if any(map(_HALF.search, self.all)):
            raise ValueError("a text holds half of a surrogate pair, which is no character")
        return self

    @property
    def all(self) -> list[str]:
        """The texts."""
        return [self.text] if self.text is not None else list(self.texts or ())


class FoundEntity(BaseModel):
    """An entity. Offsets count characters (Unicode code points) of the text as it was sent."""

    text: str
    label: str
    start: int
    end: Annotated[int, Field(description="one past its last character")]
    score: Annotated[float, Field(description="how probable exactly this entity is")]


class Extraction(BaseModel):
    """What was found in one text, in order of appearance."""

    entities: list[FoundEntity]


class Extractions(BaseModel):
    """What was found in each text, in the order in which they were sent."""

    results: list[Extraction]


class Counters:
    """What the service counts since its start, for Prometheus."""

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
        """Counts a batch of so many requests."""
        self.batches.inc()
        self.batched.inc(requests)


class Health(BaseModel):
    """Whether the service answers, and what it finds."""

    status: str
    model: str
    labels: list[str]


def make_app(work: Work, *, model: str, labels: Sequence[str], limits: Limits | None = None) -> FastAPI:
    """Makes the application.

    Args:
        work: tags texts.
        model: what the model is called.
        labels: the entity types that it finds.
        limits: what it takes on.
    """
    bounds = limits or Limits()
    counters = Counters()

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        batcher: Batcher[Tagged] = Batcher(
            work, waiting=bounds.waiting, characters=bounds.batch, on_batch=counters.count_batch
        )
        counters.waiting.set_function(lambda: batcher.waiting)
        app.state.batcher = batcher
        yield
        await batcher.close()

    app = FastAPI(title="ner-lightning", summary=model, docs_url=None, redoc_url=None, lifespan=life)
    app.add_middleware(BodyLimit, limit=bounds.body, seconds=bounds.seconds)
    _explain_errors(app)
    _extract(app, bounds, counters)
    _watch(app, counters, Health(status="ok", model=model, labels=list(labels)))
    _pages(app, model, labels)
    return app


def _extract(app: FastAPI, bounds: Limits, counters: Counters) -> None:
    @app.post(
        "/extract", responses={s: {"description": d} for s, d in STATUSES.items()}, response_model=Extractions
    )
    async def extract(query: Query) -> Any:
        """Finds the entities of a text, or of several."""
        began = time.perf_counter()
        texts = query.all
        size = sum(map(len, texts))
        if size > bounds.characters:
            reason = f"{size:,} characters are more than {bounds.characters:,}; send less at a time"
            return problem(413, reason)
        try:
            async with asyncio.timeout(bounds.seconds):
                found = await app.state.batcher.submit(texts) if texts else []
        except Full:
            reason = "too many requests are waiting; try again in a second"
            return problem(429, reason, **{"retry-after": "1"})
        except TimeoutError:
            return problem(504, f"it took more than {bounds.seconds:g} seconds; send less at a time")
        counters.characters.inc(size)
        for entity in (entity for tagged in found for entity in tagged.entities):
            counters.entities.labels(entity.label).inc()
        counters.seconds.observe(time.perf_counter() - began)
        return Extractions(results=[_answer(tagged) for tagged in found])


def _watch(app: FastAPI, counters: Counters, state: Health) -> None:
    @app.middleware("http")
    async def count(request: Request, call_next: Callable[[Request], Any]) -> Response:
        response: Response = await call_next(request)
        if request.url.path == "/extract":
            counters.requests.labels(response.status_code).inc()
        return response

    @app.get("/health")
    async def health() -> Health:
        """Extractions as long as the service does."""
        return state

    @app.get("/metrics", response_class=PlainTextResponse)
    async def read_metrics() -> Response:
        """Counts since the start, for Prometheus."""
        return Response(generate_latest(counters.registry), media_type=CONTENT_TYPE_LATEST)


def _pages(app: FastAPI, model: str, labels: Sequence[str]) -> None:
    @app.get("/", include_in_schema=False)
    async def index() -> HTMLResponse:
        page = try_page(model, labels)
        return HTMLResponse(page, headers={"content-security-policy": policy(page)})

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        page = docs_page(app.openapi())
        return HTMLResponse(page, headers={"content-security-policy": policy(page)})


STATUSES: dict[int | str, str] = {
    400: "The body is no JSON.",
    408: "The body took too long to come in.",
    413: "The body or the texts are too long.",
    422: "The body is not as described.",
    429: "Too many requests are waiting.",
    504: "The answer took too long.",
}


def _answer(tagged: Tagged) -> Extraction:
    return Extraction(
        entities=[
            FoundEntity(text=e.text, label=e.label, start=e.start, end=e.end, score=round(e.score, 6))
            for e in tagged.entities
        ]
    )


def _explain_errors(app: FastAPI) -> None:
    """Mistakes are named without repeating what was sent, which may be long or no valid text."""

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
        return problem(500, "an error of the service's own; its log tells more")
