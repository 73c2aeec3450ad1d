"""Several taggers in one service: which one answers a request, and routes that add and remove them."""

import errno
from functools import partial
from typing import Any

from fastapi import FastAPI, Response
from starlette.exceptions import HTTPException

from ner_lightning.errors import UserError
from ner_lightning.inference.selection import Selection, selection
from ner_lightning.inference.tagger_group import TaggerGroup
from ner_lightning.serving.schema import ListedTagger, NewTagger, TaggerList

NO_KEY = "taggers change only in a service with an API key: start it with NER_LIGHTNING_API_KEY"
SEVERAL_WORKERS = "taggers do not change in a service of several workers: each has its own"


class ServedTaggers:
    """The taggers of a service by name; the first answers requests that name none.

    Args:
        group: at least one; the service's only thread that tags also changes it.
        fixed: why no tagger can be added and removed; None: they can.
    """

    def __init__(self, group: TaggerGroup, fixed: str | None = None) -> None:
        self.group, self.fixed = group, fixed
        self.default = next(iter(group))

    def chosen(self, name: str | None) -> str:
        """The tagger that a request means.

        Raises:
            HTTPException: 404, there is none of that name.
        """
        name = self.default if name is None else name
        if name not in self.group:
            raise HTTPException(404, f"there is no such tagger; there are {', '.join(self.group)}")
        return name

    def check(self, name: str, min_score: Any, overlaps: Any) -> Selection | None:
        """Which entities a request to a tagger asks for.

        Raises:
            UserError: a number is outside its range, or a label is unknown.
        """
        tagger = self.group[name]
        return selection(min_score, overlaps, tagger.labels.types, tagger.selection)

    def list(self) -> TaggerList:
        """All of them."""
        listed = [ListedTagger(name=n, labels=list(t.labels.types)) for n, t in self.group.items()]
        return TaggerList(default=self.default, taggers=listed)

    def remove(self, name: str) -> None:
        """Removes one that is not the default.

        Raises:
            HTTPException: 404, there is none of that name; 409, it is the default.
        """
        if self.chosen(name) == self.default:
            raise HTTPException(409, "the default tagger stays; stop the service instead")
        self.group.remove(name)


def add_routes(app: FastAPI, taggers: ServedTaggers) -> None:
    """Adds /taggers to the application of a service, whose batcher runs all changes."""

    @app.get("/taggers")
    async def listed() -> TaggerList:
        """Lists the taggers and their labels."""
        return taggers.list()

    @app.post("/taggers", status_code=201)
    async def add(new: NewTagger) -> ListedTagger:
        """Loads a tagger from a folder or checkpoint on the service's machine."""
        _check_changes(taggers)
        try:
            added = await app.state.batcher.call(partial(taggers.group.add, new.run, new.name))
        except UserError as error:
            raise HTTPException(422, str(error).partition("\n")[0][:500]) from None
        except OSError as error:
            if error.errno != errno.ENAMETOOLONG:
                raise
            raise HTTPException(422, "run is longer than a name of a file can be") from None
        return ListedTagger(name=new.name, labels=list(added.labels.types))

    @app.delete("/taggers/{name:path}", status_code=204)
    async def remove(name: str) -> Response:
        """Lets a tagger go."""
        _check_changes(taggers)
        await app.state.batcher.call(partial(taggers.remove, name))
        return Response(status_code=204)


def _check_changes(taggers: ServedTaggers) -> None:
    if taggers.fixed is not None:
        raise HTTPException(403, taggers.fixed)
