"""Figures of the sample corpus: agreement of annotations, a dictionary baseline, unseen entities."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

from ner_lightning.data.schemes import Span, spans, to_bio2
from ner_lightning.data.sentence import Sentence


def entities(sentences: Iterable[Sentence]) -> list[tuple[int, Span, str]]:
    """All entities, with the index of their sentence and their surface form."""
    return [
        (index, span, " ".join(sentence.words[span.start : span.end]))
        for index, sentence in enumerate(sentences)
        for span in spans(sentence.tags or ())
    ]


def entity_f1(one: Iterable[Sentence], other: Iterable[Sentence]) -> float:
    """F1 of entities with the same words and type; symmetric, so either side may be gold."""
    left, right = set(entities(one)), set(entities(other))
    return 2 * len(left & right) / (len(left) + len(right))


def kappa(one: Iterable[Sentence], other: Iterable[Sentence]) -> float:
    """Cohen's kappa over the BIO2 tags of words: agreement beyond what tag frequencies predict."""
    lefts = [tag for sentence in one for tag in sentence.tags or ()]
    rights = [tag for sentence in other for tag in sentence.tags or ()]
    observed = sum(left == right for left, right in zip(lefts, rights, strict=True)) / len(lefts)
    left_counts, right_counts = Counter(lefts), Counter(rights)
    expected = sum(left_counts[tag] * right_counts[tag] for tag in left_counts) / len(lefts) ** 2
    return (observed - expected) / (1 - expected)


def tag_by_dictionary(train: Sequence[Sentence], sentences: Sequence[Sentence]) -> list[Sentence]:
    """Tags the longest match, from the left, of a training entity's text as its most frequent type."""
    counts: dict[str, Counter[str]] = {}
    for _, span, surface in entities(train):
        counts.setdefault(surface, Counter())[span.type] += 1
    types = {surface: counter.most_common(1)[0][0] for surface, counter in counts.items()}
    longest = max(surface.count(" ") + 1 for surface in types)
    tagged = []
    for sentence in sentences:
        words, matches, start = sentence.words, [], 0
        while start < len(words):
            ends = range(min(start + longest, len(words)), start, -1)
            end = next((end for end in ends if " ".join(words[start:end]) in types), None)
            if end:
                matches.append(Span(types[" ".join(words[start:end])], start, end))
            start = end or start + 1
        tagged.append(replace(sentence, tags=tuple(to_bio2(matches, len(words)))))
    return tagged


def unseen(train: Sequence[Sentence], test: Sequence[Sentence]) -> float:
    """Share of the test entities whose surface form is not an entity in training."""
    known = {surface for *_, surface in entities(train)}
    mentions = entities(test)
    return sum(surface not in known for *_, surface in mentions) / len(mentions)
