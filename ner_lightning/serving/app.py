"""The service's HTTP application: /extract, /health, /ready, /metrics, its description, a page to try it."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from fastapi import FastAPI, Request
from fastapi.routing import APIRoute
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, PlainTextResponse, Response

from ner_lightning.errors import UserError
from ner_lightning.inference.result import Tagged
from ner_lightning.inference.selection import Selection, selection
from ner_lightning.serving.access import KeyCheck, allow_origins
from ner_lightning.serving.batcher import Batcher, Full
from ner_lightning.serving.counters import Counters
from ner_lightning.serving.disconnects import while_connected
from ner_lightning.serving.examples import add_examples
from ner_lightning.serving.limits import BodyLimit, problem
from ner_lightning.serving.page import docs_page, policy, try_page
from ner_lightning.serving.request_errors import explain_errors, mistaken_query
from ner_lightning.serving.request_log import SIZES, RequestLog
from ner_lightning.serving.schema import STATUSES, Extraction, Extractions, Health, Query, Ready
from ner_lightning.serving.taggers import ServedTaggers, add_routes

REASON = 300  # characters of why a request is refused, which may repeat labels that it names
STOPPING = "the service is stopping"
BUSY = "the model has been at one batch for longer than a request may take"
CHARACTERS_A_TEXT = 16  # of the limit: even an empty text takes time
Work = Callable[..., Sequence[Tagged]]  # texts, and options as of `NERTagger`


@dataclass(frozen=True)
class RequestLimits:
    """What the service accepts.

    Attributes:
        body: largest body of a request, in bytes.
        characters: most characters of a request's texts together; a text for each 16 of them may come.
        waiting: most requests that wait; one more is answered 429.
        seconds: how long a request may take, waiting included.
        batch: characters of a batch.
        origins: pages of which origins may ask it, such as `https://app.example`; `*` for all.
    """

    body: int = 1_000_000
    characters: int = 100_000
    waiting: int = 128
    seconds: float = 30.0
    batch: int = 16_000
    origins: tuple[str, ...] = ()

    @property
    def texts(self) -> int:
        """Most texts of a request."""
        return max(1, self.characters // CHARACTERS_A_TEXT)

    def excess(self, texts: Sequence[str]) -> str | None:
        """How a request has more than it may, in words; None if it has not."""
        size = sum(map(len, texts))
        if size > self.characters:
            return f"{size:,} characters are more than {self.characters:,}; send less at a time"
        if len(texts) > self.texts:
            return f"{len(texts):,} texts are more than {self.texts:,}; send less at a time"
        return None


def make_app(
    work: Work,
    *,
    model: str,
    labels: Sequence[str],
    limits: RequestLimits | None = None,
    selected: Selection | None = None,
    api_key: str | None = None,
    taggers: ServedTaggers | None = None,
    example: Tagged | None = None,
) -> FastAPI:
    """Makes the application.

    Args:
        work: tags texts; those of several taggers as pairs of name and text.
        model: the model's name.
        labels: its entity types.
        limits: what the service accepts; None: the defaults.
        selected: which entities are predicted if a request does not say; None: the best tag sequence's.
        api_key: what requests must name; None: nothing.
        taggers: the service's several taggers; None: it has one.
        example: a text that fits the tagger, to try it with, and its entities.
    """
    bounds, counters = limits or RequestLimits(), Counters()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        batcher: Batcher[Any, Tagged] = Batcher(
            work, bounds.waiting, bounds.batch, on_batch=counters.count_batch, size_of=_size
        )
        app.state.batcher = batcher
        yield
        app.state.stopping = True
        await batcher.close()

    app = FastAPI(title="ner-lightning", summary=model, docs_url=None, redoc_url=None, lifespan=lifespan)
    app.state.stopping = False  # the server sets it when it is told to stop
    app.add_middleware(BodyLimit, limit=bounds.body, seconds=bounds.seconds)
    if api_key is not None:
        app.add_middleware(KeyCheck, key=api_key)
    allow_origins(app, bounds.origins)  # around the key, which a browser does not send when it asks first
    app.add_middleware(RequestLog, on_response=counters.count_response)  # outermost: every response has an id
    explain_errors(app)
    items = _one(model, labels, selected) if taggers is None else partial(_of_several, taggers)
    _add_extract(app, bounds, counters, items)
    if taggers is not None:
        add_routes(app, taggers)
    state = _add_monitoring(app, bounds, counters, Health(status="ok", model=model, labels=list(labels)))
    _add_pages(app, state, example, key=api_key is not None)
    return app


# From the tagger that a request names, and the request, to what the batcher is given.
Items = Callable[[str | None, Query], Sequence[Any]]


def _size(item: str | tuple[str, str]) -> int:
    return len(item if isinstance(item, str) else item[1])


def _one(model: str, labels: Sequence[str], selected: Selection | None) -> Items:
    """The texts of a request to the only tagger."""

    def items(name: str | None, query: Query) -> Sequence[str]:
        if name not in (None, model):
            raise HTTPException(404, f"there is no such tagger; there is {model}")
        selection(query.min_score, query.overlaps, labels, selected)
        return query.all

    return items


def _of_several(taggers: ServedTaggers, name: str | None, query: Query) -> Sequence[tuple[str, str]]:
    chosen = taggers.chosen(name)
    taggers.check(chosen, query.min_score, query.overlaps)
    return [(chosen, text) for text in query.all]


def _add_extract(app: FastAPI, bounds: RequestLimits, counters: Counters, items_of: Items) -> None:
    answers: dict[int | str, dict[str, Any]] = {s: {"description": d} for s, d in STATUSES.items()}

    @app.post("/extract", responses=answers, response_model=Extractions, response_model_exclude_none=True)
    async def extract(query: Query, request: Request, tagger: str | None = None) -> Any:
        """Finds the entities of a text, or of several."""
        began = time.perf_counter()
        texts = query.all
        sizes = request.scope[SIZES] = {"texts": len(texts)}
        if (refusal := _refusal(request, bounds, texts)) is not None:
            return refusal
        try:
            items = items_of(tagger, query)
        except UserError as error:
            return problem(422, str(error)[:REASON])
        results: list[Tagged] = []
        try:
            if texts:
                async with asyncio.timeout(bounds.seconds):
                    tagging = app.state.batcher.submit(items, **query.options)
                    results = await while_connected(tagging, request.receive)
        except Full:
            if app.state.stopping:
                return problem(503, STOPPING)
            reason = "too many requests are waiting; try again in a second"
            return problem(429, reason, **{"retry-after": "1"})
        except KeyError:  # the tagger was removed while the request waited
            raise HTTPException(404, "there is no such tagger any more") from None
        except TimeoutError:
            return problem(504, f"it took more than {bounds.seconds:g} seconds; send less at a time")
        finally:
            counters.waiting.set(app.state.batcher.waiting)
        sizes["words"] = sum(len(result.offsets) for result in results)
        counters.characters.inc(sum(map(len, texts)))
        found = list(map(Extraction.of, results))
        for entity in (entity for extraction in found for entity in extraction.entities):
            counters.entities.labels(entity.label).inc()
        counters.seconds.observe(time.perf_counter() - began)
        return Extractions(results=found)


def _answer_head(app: FastAPI) -> None:
    """Monitors and load balancers ask by HEAD; the description was made before."""
    for route in app.routes:
        if isinstance(route, APIRoute) and route.methods == {"GET"}:
            route.methods = {"GET", "HEAD"}


def _refusal(request: Request, bounds: RequestLimits, texts: Sequence[str]) -> Response | None:
    if (reason := mistaken_query(request)) is not None:
        return problem(422, reason)
    return None if (reason := bounds.excess(texts)) is None else problem(413, reason)


def _add_monitoring(app: FastAPI, bounds: RequestLimits, counters: Counters, state: Health) -> Health:
    @app.get("/health")
    async def health() -> Health:
        """Answers as long as the service runs."""
        return state

    @app.get("/ready", responses={503: {"description": "Requests should be sent elsewhere."}})
    async def ready() -> Ready:
        """Answers 200 while requests should be sent here: not while it stops or works past the timeout."""
        if app.state.stopping:
            raise HTTPException(503, STOPPING)
        if app.state.batcher.busy > bounds.seconds:  # whoever waits for it gets no answer in time
            raise HTTPException(503, BUSY)
        return Ready(status="ready")

    @app.get("/metrics", response_class=PlainTextResponse)
    async def metrics() -> Response:
        """Counts since the start, for Prometheus."""
        counters.waiting.set(app.state.batcher.waiting)
        return Response(counters.text(), media_type=CONTENT_TYPE_LATEST)

    return state


def _add_pages(app: FastAPI, state: Health, example: Tagged | None, *, key: bool) -> None:
    @app.get("/", include_in_schema=False)
    async def index() -> HTMLResponse:
        return _html(try_page(state.model, state.labels, example.text if example is not None else None))

    @app.get("/docs", include_in_schema=False)
    async def docs(request: Request) -> HTMLResponse:
        return _html(docs_page(app.openapi(), str(request.base_url).rstrip("/"), key=key))

    add_examples(app.openapi(), state, example)  # FastAPI keeps the description as long as the routes stay
    _answer_head(app)


def _html(page: str) -> HTMLResponse:
    return HTMLResponse(page, headers={"content-security-policy": policy(page)})
