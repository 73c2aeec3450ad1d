"""Makes sentences with BIO2 tags from texts with entities as character offsets."""

from collections.abc import Callable, Iterable, Iterator, Sequence

from ner_lightning.data.readers.read_options import AnnotationRules
from ner_lightning.data.readers.record import CharSpan
from ner_lightning.data.running_text import Offsets, pieces, words
from ner_lightning.data.schemes import Span, split_tag, to_bio2
from ner_lightning.data.sentence import is_invisible
from ner_lightning.errors import UserError


def tagged_sentences(
    text: str,
    entities: Iterable[CharSpan],
    rules: AnnotationRules,
    changed: Callable[[str, str], None],
    tokens: Sequence[Offsets] | None = None,
) -> Iterator[tuple[tuple[Offsets, ...], tuple[str, ...]]]:
    """The offsets of the words and the BIO2 tags of each sentence; no sentence ends within an entity.

    Args:
        text: the text; one without words has no sentence.
        entities: its entities, in any order.
        rules: for entities that are not whole words or overlap.
        changed: called with each kind of change and the entity's text.
        tokens: the offsets of its words; None splits them as prediction does.

    Raises:
        UserError: an entity lies outside the text, has no type, or overlaps another one.
    """
    offsets = words(text) if tokens is None else list(tokens)
    trimmed = [_trimmed(text, entity) for entity in dict.fromkeys(entities)]
    if rules.misaligned == "split":
        offsets = _split(text, offsets, trimmed, changed)
    spans = _disjoint(
        text, offsets, list(_word_spans(text, offsets, trimmed, rules, changed)), rules, changed
    )
    inside = {cut for span in spans for cut in range(span.start + 1, span.end)}
    start = 0
    for _, end in pieces(text, offsets):
        if end in inside:
            continue
        own = [
            Span(span.type, span.start - start, span.end - start)
            for span in spans
            if start <= span.start < end
        ]
        yield tuple(offsets[start:end]), tuple(to_bio2(own, end - start))
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
    if not type_.strip():
        raise UserError(f"the entity {text[start:end]!a:.40} has no type; give it one or remove it")
    split_tag(f"B-{type_.strip()}")  # refuses two types in one
    inner = text[start:end]
    if is_invisible(inner):
        raise UserError(f"the entity {type_} from {start} to {end} has no visible character; remove it")
    start += len(inner) - len(inner.lstrip())
    return CharSpan(start, start + len(inner.strip()), type_.strip())


def _split(
    text: str, offsets: list[Offsets], entities: Sequence[CharSpan], changed: Callable[[str, str], None]
) -> list[Offsets]:
    """Splits words where an entity begins or ends, unless one part would be invisible."""
    borders = sorted({border for entity in entities for border in entity[:2]})
    parts: list[Offsets] = []
    done: set[int] = set()
    at = 0
    for start, end in offsets:
        while at < len(borders) and borders[at] <= start:
            at += 1
        while at < len(borders) and borders[at] < end:
            if not is_invisible(text[start : borders[at]]) and not is_invisible(text[borders[at] : end]):
                parts.append((start, borders[at]))
                done.add(borders[at])
                start = borders[at]
            at += 1
        parts.append((start, end))
    for entity in entities:
        if done & {*entity[:2]}:
            changed("entities begin or end inside a word, which was split", text[entity.start : entity.end])
    return parts


def _word_spans(
    text: str,
    offsets: Sequence[Offsets],
    entities: Iterable[CharSpan],
    rules: AnnotationRules,
    changed: Callable[[str, str], None],
) -> Iterator[Span]:
    """Each entity as a span of words, in the order of the file."""
    word_at = {place: index for index, (start, end) in enumerate(offsets) for place in range(start, end)}
    for start, end, type_ in entities:
        covered = [index for place in range(start, end) if (index := word_at.get(place)) is not None]
        if not covered:
            changed("entities have no word and were dropped", text[start:end])
            continue
        first, last = covered[0], covered[-1]
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
                f"the entities {surface(other)!a:.40} ({other.type}) and {surface(span)!a:.40} ({span.type}) "
                "overlap;\nset data.files.overlapping to longest or first"
            )
        else:
            changed("entities overlap another one, which was kept", surface(span))
    return sorted(dict.fromkeys(owner.values()), key=lambda span: span.start)
