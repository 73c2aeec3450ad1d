"""Examples: a request and its answer for each route, in the OpenAPI description and as lines for curl."""

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from ner_lightning.inference.result import Tagged
from ner_lightning.serving.access import OPEN, VARIABLE
from ner_lightning.serving.schema import Extraction, Extractions, FoundEntity, Health

TEXT = "Vera Holt left Lima."  # where there is no example of the tagger's own
JSON = "application/json"
_INNERMOST = re.compile(r"[{\[]\n[^{}\[\]]*?\n\s*[}\]]")


class Operation(NamedTuple):
    """A route and a method, with the example of a request and of its answer.

    Attributes:
        method: such as `POST`.
        path: with a query where the example has one.
        about: what it does.
        statuses: what each status means.
        body: of the request; None if it has none.
        answer: as it is received; empty if there is none.
    """

    method: str
    path: str
    about: str
    statuses: Mapping[str, str]
    body: str | None
    answer: str

    def curl(self, address: str, *, key: bool) -> str:
        """The command that sends the request.

        Args:
            address: of the service.
            key: whether it has a key.
        """
        words = ["curl -s", "" if self.method in ("GET", "POST") else f"-X {self.method}"]
        words.append(shlex.quote(address + self.path))
        if key and self.path.partition("?")[0] not in OPEN:
            words.append(f'-H "Authorization: Bearer ${VARIABLE}"')
        if self.body is not None:
            words.append(f"-H 'content-type: {JSON}' -d {shlex.quote(self.body)}")
        return " ".join(filter(None, words))


def add_examples(openapi: dict[str, Any], state: Health, tagged: Tagged | None) -> None:
    """Puts the examples into an OpenAPI description.

    Args:
        openapi: the description, which is changed.
        state: of the service.
        tagged: an example text with the entities that the service's tagger finds; None: an invented one.
    """
    listed = {"name": state.model, "labels": state.labels}
    label = state.labels[0] if state.labels else "PER"
    invented = FoundEntity(text="Vera Holt", label=label, start=0, end=9, score=0.987)
    found = Extraction.of(tagged) if tagged is not None else Extraction(entities=[invented])
    answers: dict[tuple[str, str], Any] = {
        ("post", "/extract"): Extractions(results=[found]).model_dump(exclude_none=True),
        ("get", "/health"): state.model_dump(),
        ("get", "/ready"): {"status": "ready"},
        (
            "get",
            "/metrics",
        ): "ner_characters_total 62.0\nner_waiting_requests 0.0\n",
        ("get", "/taggers"): {"default": state.model, "taggers": [listed]},
        ("post", "/taggers"): {"name": "law", "labels": ["COURT", "STATUTE"]},
    }
    bodies = {
        ("post", "/extract"): {"text": tagged.text if tagged is not None else TEXT},
        ("post", "/taggers"): {"name": "law", "run": "runs/law/1"},
    }
    for path, methods in openapi["paths"].items():
        for method, operation in methods.items():
            if (method, path) in bodies:
                operation["requestBody"]["content"][JSON]["example"] = bodies[method, path]
            for content in _content(operation):
                content["example"] = answers[method, path]


def operations(openapi: Mapping[str, Any]) -> Iterator[Operation]:
    """The operations of a description with examples."""
    for path, methods in openapi["paths"].items():
        for method, operation in methods.items():
            content = operation.get("requestBody", {}).get("content", {}).get(JSON)
            yield Operation(
                method.upper(),
                path.replace("{name}", "law"),
                operation.get("description") or operation.get("summary", ""),
                {str(code): answer["description"] for code, answer in operation["responses"].items()},
                None if content is None else json.dumps(content["example"], ensure_ascii=False),
                "".join(_shown(each["example"]) for each in _content(operation)),
            )


def _content(operation: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What the description holds about the body of the answer of success, if it has one."""
    answer = next(answer for code, answer in operation["responses"].items() if code.startswith("2"))
    return list(answer.get("content", {}).values())


def _shown(example: Any) -> str:
    """An example as it is shown: each innermost object on a line of its own."""
    if isinstance(example, str):
        return example
    text = json.dumps(example, indent=2, ensure_ascii=False)
    return _INNERMOST.sub(lambda found: re.sub(r"\n\s*", " ", found[0]), text)
