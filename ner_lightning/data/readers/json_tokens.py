"""Takes the tokens beside a text out of JSON, whose own texts prove what offsets count."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from ner_lightning.data.invisible import is_invisible
from ner_lightning.data.readers.counting import Counting, contradiction, countings, same_words
from ner_lightning.data.readers.record import CharSpan
from ner_lightning.data.readers.stated_entities import Changed
from ner_lightning.data.running_text import Offsets
from ner_lightning.errors import UserError


class Tokens(NamedTuple):
    """The tokens of a text.

    Attributes:
        offsets: of each token, in characters; those of white space are among them.
        counting: what their offsets count in the file.
    """

    offsets: tuple[Offsets, ...]
    counting: Counting

    def words(self, text: str) -> tuple[Offsets, ...]:
        """The offsets of those that are visible."""
        return tuple((start, end) for start, end in self.offsets if not is_invisible(text[start:end]))

    def check_numbers(self, entities: Any, spans: Sequence[CharSpan], text: str) -> None:
        """Checks entities that also name their first and last token.

        Args:
            entities: as the file has them.
            spans: the same, in characters.
            text: the text.

        Raises:
            UserError: the tokens are not those of the characters.
        """
        for entity, span in zip(entities if isinstance(entities, list) else (), spans, strict=False):
            if not isinstance(entity, dict):
                continue
            first, last = entity.get("token_start"), entity.get("token_end")
            if type(first) is not int or type(last) is not int:
                continue
            covered = text[span.start : span.end]
            # Prodigy includes the last token; other tools do not.
            named = [self._text(first, end, text) for end in (last + 1, last)]
            if not any(same_words(each, covered) for each in named):
                where = f"the entity {span.type} from {span.start} to {span.end}"
                rule = f"it names the tokens {first} to {last}"
                raise UserError(contradiction(where, named[0], covered, rule))

    def _text(self, first: int, end: int, text: str) -> str:
        chosen = self.offsets[max(first, 0) : max(end, 0)]
        return text[chosen[0][0] : chosen[-1][1]] if chosen else ""


class _Token(NamedTuple):
    """A token as a file has it: its offsets, and its text if it states one."""

    start: int
    end: int
    stated: str


def tokens_in(tokens: Any, text: str, changed: Changed) -> Tokens:
    """The tokens of Prodigy or spaCy.

    Args:
        tokens: objects with offsets.
        text: the text.
        changed: called with what no token covers.

    Raises:
        UserError: they are no list, lie outside the text or not one after the other, or state another text.
    """
    if not isinstance(tokens, list):
        raise UserError(f"field 'tokens' is {tokens!r:.40}, which is not a list")
    read = [_token(token) for token in tokens]
    for counting in countings(text):
        if counting.is_inclusive and not all(token.stated for token in read):
            continue
        found = [counting.characters(token.start, token.end) for token in read]
        offsets = [each for each in found if each is not None]
        if len(offsets) == len(read) and not _problem(read, offsets, tokens, text, counting):
            _say_uncovered(offsets, text, changed)
            return Tokens(tuple(offsets), counting)
    usual = next(countings(text))
    offsets = [usual.characters(token.start, token.end) or (-1, -1) for token in read]
    raise UserError(_problem(read, offsets, tokens, text, usual))


def _token(token: Any) -> _Token:
    """Parses a token.

    Raises:
        UserError: it has no offsets.
    """
    start, end = (token.get(name) for name in ("start", "end")) if isinstance(token, dict) else (None, None)
    if type(start) is not int or type(end) is not int:
        raise UserError(_misplaced(token))
    stated = token.get("text")
    return _Token(start, end, stated if isinstance(stated, str) else "")


def _misplaced(token: Any) -> str:
    return f"the token {token!r:.60} does not lie in the text after the one before it"


def _problem(
    read: Sequence[_Token], offsets: Sequence[Offsets], tokens: Sequence[Any], text: str, counting: Counting
) -> str:
    """Why the tokens are not those of the text; empty if they may be."""
    before = 0
    for token, (start, end), given in zip(read, offsets, tokens, strict=True):
        if start < before:
            return _misplaced(given)
        before = end
        covered = text[start:end]
        # Those of a model, such as [CLS], cover nothing.
        if covered and token.stated.strip() and not counting.fits(token.stated, covered):
            return contradiction(f"the token from {token.start} to {token.end}", token.stated, covered)
    return ""


def _say_uncovered(offsets: Sequence[Offsets], text: str, changed: Changed) -> None:
    """Says what of the text no token covers."""
    before = 0
    for start, end in [*offsets, (len(text), len(text))]:
        if not is_invisible(text[before:start]):
            changed("parts of texts are covered by no token and were left out", text[before:start].strip())
        before = end
