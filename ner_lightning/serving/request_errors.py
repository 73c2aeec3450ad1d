"""What is wrong with a request, said without repeating what was sent, which may be long or no valid text."""

from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from ner_lightning.serving.limits import problem
from ner_lightning.serving.schema import Query

TAGGER = "tagger"  # the only query parameter
NOT_JSON = "the body is not JSON in UTF-8"
EMPTY = "the body is empty; send JSON"
TAKES = {  # the fields of all requests
    "text": "a text",
    "texts": "a list of texts",
    "min_score": "a number, or an object of numbers",
    "overlaps": "resolve or keep",
    "name": "a text of 1 to 100 characters",
    "run": "a text of at least a character",
}


def mistaken_query(request: Request) -> str | None:
    """What is wrong with the query parameters of a request for entities; None if nothing is."""
    names = [name for name, _ in request.query_params.multi_items()]
    for name in names:
        if name in Query.model_fields:
            return f"{name} is no query parameter; put it in the body"
        if name != TAGGER:
            return f"there is no query parameter {name[:40]}; there is {TAGGER}"
    return f"{TAGGER} is given several times; name one" if len(names) > 1 else None


class JsonRoute(APIRoute):
    """A route that takes a body as plain JSON alone: another one is refused before it is parsed."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """What answers a request."""
        answer = super().get_route_handler()

        async def checked(request: Request) -> Response:
            return _coding(request) or await answer(request)

        return checked


def explain_errors(app: FastAPI) -> None:
    """Names mistakes in requests for the routes that are added later."""
    app.router.route_class = JsonRoute

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        return problem(*_invalid(error.errors()))

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> Response:
        if error.status_code == 400:  # FastAPI cannot read the body
            return problem(400, NOT_JSON)
        return problem(error.status_code, str(error.detail), **dict(error.headers or {}))


def _coding(request: Request) -> Response | None:
    """What to answer to a body that is not sent as plain JSON; None if it is."""
    if request.method != "POST":
        return None
    codings = ",".join(request.headers.getlist("content-encoding")).lower().split(",")
    if {coding.strip() for coding in codings} - {"", "identity"}:
        return problem(415, "the body has a content-encoding, which is not supported; send it as it is")
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json" and not kind.endswith("+json"):
        return problem(415, "the body is not sent as JSON; add the header content-type: application/json")
    return None


def _invalid(errors: Sequence[Mapping[str, Any]]) -> tuple[int, str]:
    first = errors[0]
    if first["type"] == "json_invalid":
        return 400, f"{NOT_JSON}: see its character {first['loc'][-1]}"
    if first["type"] == "missing" and tuple(first["loc"]) == ("body",):
        return 422, EMPTY
    return 422, _mistaken_field(first)


def _mistaken_field(error: Mapping[str, Any]) -> str:
    """The field, and what it takes: pydantic would name its own classes and parts of types."""
    kind, where = error["type"], [str(part) for part in error["loc"] if part != "body"]
    if kind == "value_error":
        return str(error["ctx"]["error"])
    if not where:
        return "the body is no JSON object"
    if kind == "extra_forbidden":
        return f"{where[0][:80]}: there is no such field"
    if kind == "missing":
        return f"{where[0]} is missing; it takes {TAKES[where[0]]}"
    if where[0] == "texts" and len(where) > 1:
        return f"texts.{where[1]}: {TAKES['text']}"
    return f"{where[0]}: {TAKES[where[0]]}"
