"""Makes sentences with BIO2 tags from texts with entities as character offsets."""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import chain

from ner_lightning.data.invisible import is_invisible, visible
from ner_lightning.data.readers.offset_causes import cause_of
from ner_lightning.data.readers.read_options import AnnotationRules
from ner_lightning.data.readers.record import CharSpan
from ner_lightning.data.running_text import Offsets, pieces, sentences_at, words
from ner_lightning.data.schemes import Span, split_tag, to_bio2
from ner_lightning.errors import UserError

SPLIT = "entities begin or end inside a word, which was split, as predict cannot"


def tagged_sentences(
    text: str,
    entities: Iterable[CharSpan],
    rules: AnnotationRules,
    changed: Callable[[str, str], None],
    tokens: Sequence[Offsets] | None = None,
    starts: Collection[int] | None = None,
) -> Iterator[tuple[tuple[Offsets, ...], tuple[str, ...]]]:
    """The offsets of the words and the BIO2 tags of each sentence; no sentence ends within an entity.

    Args:
        text: the text; one without words has no sentence.
        entities: its entities, in any order.
        rules: for entities that are not whole words or overlap.
        changed: called with each kind of change and the entity's text.
        tokens: the offsets of its words; None splits them as prediction does.
        starts: the characters at which sentences begin, of which the first may be left out; None finds them
            as prediction does.

    Raises:
        UserError: an entity lies outside the text, has no type, or overlaps another one.
    """
    offsets = words(text) if tokens is None else list(tokens)
    given = list(dict.fromkeys(entities))
    trimmed = [_trimmed(text, entity) for entity in given]
    if rules.misaligned == "split":
        offsets = _split(text, offsets, trimmed, given, changed)
    spans = _disjoint(
        text, offsets, list(_word_spans(text, offsets, trimmed, rules, changed)), rules, changed
    )
    inside = {cut for span in spans for cut in range(span.start + 1, span.end)}
    tags = to_bio2(spans, len(offsets))
    start = 0
    for _, end in pieces(text, offsets) if starts is None else sentences_at(offsets, starts):
        if end not in inside:
            yield tuple(offsets[start:end]), tuple(tags[start:end])
            start = end


def _trimmed(text: str, entity: CharSpan) -> CharSpan:
    """The entity without white space at its borders.

    Raises:
        UserError: nothing is left, it lies outside the text, or it has no type or two.
    """
    start, end, type_ = entity
    if not 0 <= start < end <= len(text):
        raise UserError(
            f"the entity {type_} from {start} to {end} does not lie in the text, which has {len(text):,} "
            "characters; offsets count characters from 0, the end is exclusive"
        )
    if not visible(type_):
        raise UserError(f"the entity {text[start:end]!r:.40} has no type; give it one or remove it")
    split_tag(f"B-{visible(type_)}")  # refuses two types in one
    inner = text[start:end]
    if is_invisible(inner):
        raise UserError(f"the entity {type_} from {start} to {end} has no visible character; remove it")
    start += len(inner) - len(inner.lstrip())
    return CharSpan(start, start + len(inner.strip()), visible(type_))


def _split(
    text: str,
    offsets: list[Offsets],
    entities: Sequence[CharSpan],
    given: Sequence[CharSpan],
    changed: Callable[[str, str], None],
) -> list[Offsets]:
    """Splits words where an entity begins or ends, unless one part would be invisible.

    Args:
        text: the text.
        offsets: its words.
        entities: its entities, without white space at their borders.
        given: the same as the file has them, by which it is told how their offsets may have been counted.
        changed: called with what is split.
    """
    known = {*chain.from_iterable(offsets)}
    borders = sorted({border for entity in entities for border in entity[:2]} - known)
    if not borders:
        return offsets
    starts = [start for start, _ in offsets]
    parts: dict[int, list[Offsets]] = {}  # of each word that is split
    done: set[int] = set()
    for border in borders:
        index = bisect_right(starts, border) - 1
        if index < 0 or border > offsets[index][1]:
            continue  # between words
        *before, (start, end) = parts.get(index, [offsets[index]])
        if not is_invisible(text[start:border]) and not is_invisible(text[border:end]):
            parts[index] = [*before, (start, border), (border, end)]
            done.add(border)
    cause = cause_of(text, offsets) if done else None
    for entity, own in zip(entities, given, strict=True):
        if cause is not None and done & {*entity[:2]}:
            why = f"; they would be whole words {how}" if (how := cause(own)) else ""
            changed(f"{SPLIT}{why}", text[entity.start : entity.end])
    return [part for index, word in enumerate(offsets) for part in parts.get(index, (word,))]


def _word_spans(
    text: str,
    offsets: Sequence[Offsets],
    entities: Iterable[CharSpan],
    rules: AnnotationRules,
    changed: Callable[[str, str], None],
) -> Iterator[Span]:
    """Each entity as a span of words, in the order of the file."""
    starts = [start for start, _ in offsets]
    ends = [end for _, end in offsets]
    for start, end, type_ in entities:
        first = bisect_right(ends, start)  # the first word that ends after the start
        last = bisect_left(starts, end) - 1  # the last word that starts before the end
        if first > last:
            changed("entities have no word and were dropped", text[start:end])
            continue
        if offsets[first][0] < start or end < offsets[last][1]:
            if rules.misaligned == "drop":
                changed("entities begin or end inside a word and were dropped", text[start:end])
                continue
            changed("entities begin or end inside a word and were expanded to it", text[start:end])
        yield Span(type_, first, last + 1)


def _disjoint(
    text: str,
    offsets: Sequence[Offsets],
    spans: Sequence[Span],
    rules: AnnotationRules,
    changed: Callable[[str, str], None],
) -> list[Span]:
    """The spans that are kept, from the left.

    Raises:
        UserError: two overlap, and the rule is to refuse them.
    """

    def surface(span: Span) -> str:
        return text[offsets[span.start][0] : offsets[span.end - 1][1]]

    ranked = list(dict.fromkeys(spans))
    if rules.overlapping == "longest":
        ranked.sort(key=lambda span: (span.start - span.end, span.start))  # stable: the file's order decides
    owner: dict[int, Span] = {}
    for span in ranked:
        other = next((owner[word] for word in range(span.start, span.end) if word in owner), None)
        if other is None:
            owner.update(dict.fromkeys(range(span.start, span.end), span))
        elif rules.overlapping == "refuse":
            raise UserError(
                f"the entities {surface(other)!r:.40} ({other.type}) and {surface(span)!r:.40} ({span.type}) "
                "overlap;\nset data.files.overlapping to longest or first"
            )
        else:
            changed("entities overlap another one, which was kept", surface(span))
    return sorted(dict.fromkeys(owner.values()), key=lambda span: span.start)
