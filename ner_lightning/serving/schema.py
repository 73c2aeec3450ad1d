"""The requests and answers of the service, as its OpenAPI description shows them."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ner_lightning.data.sentence import SURROGATE
from ner_lightning.inference.result import Tagged

STATUSES: dict[int | str, str] = {
    400: "The body is not JSON.",
    401: "The service has an API key, and the request does not name it.",
    404: "There is no tagger of that name.",
    408: "The body did not arrive in time.",
    413: "The body or the texts are too long, or there are too many texts.",
    415: "The body is not sent as JSON.",
    422: "The body is not as described.",
    429: "Too many requests are waiting.",
    503: "The service is stopping.",
    504: "The answer took too long.",
}


class Query(BaseModel):
    """A text, or several."""

    model_config = ConfigDict(extra="forbid", strict=True)
    text: Annotated[str | None, Field(description="a text")] = None
    texts: Annotated[list[str] | None, Field(description="instead of text: several texts")] = None
    min_score: Annotated[
        float | dict[str, float] | None,
        Field(
            description="every entity of at least this probability, not those of the best tag sequence; one "
            'number, or one for each label, where "*" stands for the others; null: as the service was started'
        ),
    ] = None
    overlaps: Annotated[
        Literal["resolve", "keep"] | None,
        Field(description="with min_score, entities that share words: the most probable of them, or all"),
    ] = None

    @model_validator(mode="after")
    def _one_of_them(self) -> "Query":
        if (self.text is None) == (self.texts is None):
            raise ValueError("give either text or texts")
        if any(map(SURROGATE.search, self.all)):
            raise ValueError("a text holds half of a surrogate pair, which is not a character")
        return self

    @property
    def all(self) -> list[str]:
        """The texts."""
        return [self.text] if self.text is not None else list(self.texts or ())

    @property
    def options(self) -> dict[str, Any]:
        """What is asked for beside the default."""
        asked = {"min_score": self.min_score, "overlaps": self.overlaps}
        return {name: value for name, value in asked.items() if value is not None}


class FoundEntity(BaseModel):
    """An entity. Offsets count characters (Unicode code points) of the text as it was sent."""

    text: str
    label: str
    start: int
    end: Annotated[int, Field(description="index after its last character")]
    score: Annotated[float, Field(description="the probability of exactly this entity, from 0 to 1")]
    overlaps: Annotated[
        bool | None,
        Field(description="only with overlaps=keep: whether it shares words with a more probable entity"),
    ] = None


class Extraction(BaseModel):
    """The entities of a text, in order of appearance."""

    entities: list[FoundEntity]

    @classmethod
    def of(cls, tagged: Tagged) -> "Extraction":
        """From a result."""
        names = FoundEntity.model_fields
        return cls(
            entities=[
                FoundEntity(**{name: value for name, value in row.items() if name in names})
                for row in tagged.entity_dicts()
            ]
        )


class Extractions(BaseModel):
    """The entities of each text, in the order in which the texts were sent."""

    results: list[Extraction]


class Health(BaseModel):
    """The state of the service, its model and the entity types."""

    status: str
    model: str
    labels: list[str]


class ListedTagger(BaseModel):
    """A tagger and its entity types."""

    name: str
    labels: list[str]


class TaggerList(BaseModel):
    """The service's taggers, and the one that answers requests that name none."""

    default: str
    taggers: list[ListedTagger]


class NewTagger(BaseModel):
    """A tagger to add."""

    model_config = ConfigDict(extra="forbid", strict=True)
    name: Annotated[str, Field(min_length=1, max_length=100, description="what requests call it")]
    run: Annotated[str, Field(min_length=1, description="run folder, checkpoint or exported folder")]


class Ready(BaseModel):
    """The service answers requests."""

    status: str
