"""What reading and encoding a data set tell: tag schemes, illegal tags, windows, words that vanish."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ner_lightning.analysis.findings import ROWS, SHOWN, DataView, Finding, Level
from ner_lightning.data.partial_annotation import unknown_words
from ner_lightning.data.word_agreement import LOOKED_AT, TOLERATED, word_agreement


@dataclass(frozen=True)
class ReadingFacts:
    """Facts that the caller knows from reading and encoding; all of them optional.

    Attributes:
        scheme: the tag scheme of each split's file.
        illegal: how many tags of each split were illegal in its scheme.
        lengths: sub-tokens of each sentence, by split.
        window: how many sub-tokens of a sentence a window has room for.
        vanishing: words that the tokenizer drops or merges with a neighbour.
        miscounted: of each split whose entities are whole words by another count of offsets, which that is.
    """

    scheme: Mapping[str, str] = field(default_factory=dict)
    illegal: Mapping[str, int] = field(default_factory=dict)
    lengths: Mapping[str, Sequence[int]] = field(default_factory=dict)
    window: int | None = None
    vanishing: Sequence[str] = ()
    miscounted: Mapping[str, str] = field(default_factory=dict)


def reading(view: DataView, facts: ReadingFacts) -> Iterator[Finding]:
    """The facts as findings."""
    several = len(set(facts.scheme.values())) > 1
    yield Finding(
        "scheme",
        "Tag schemes",
        Level.LOOK if several else Level.FACT,
        len(facts.scheme),
        "Files differ in their scheme; each was converted to BIO2 by its own. Check that this is intended."
        if several
        else "Tags are converted to BIO2 when they are read.",
        ("split", "scheme"),
        tuple(facts.scheme.items()),
    )
    illegal = {split: count for split, count in facts.illegal.items() if count}
    yield Finding(
        "illegal_tags",
        "Illegal tags",
        Level.LOOK,
        sum(illegal.values()),
        "An I- or E- does not continue an entity of its type. Such tags were read as the beginning of an "
        "entity.",
        ("split", "tags"),
        tuple(illegal.items()),
    )
    yield Finding(
        "offsets",
        "Offsets of entities that count something else",
        Level.PROBLEM,
        len(facts.miscounted),
        "One other way of counting gives whole words throughout, so a tagger would learn parts of words. "
        "Write offsets that count characters from 0, with the end after the last character. Ends that are "
        "one too low are also corrected by --misaligned expand (data.files.misaligned of fit).",
        ("split", "entities"),
        tuple(facts.miscounted.items()),
    )
    yield _unknown(view)
    yield _words(view)
    yield _windows(view, facts)
    vanishing = list(dict.fromkeys(facts.vanishing))
    yield Finding(
        "melted_words",
        "Words that vanish in the tokenizer",
        Level.LOOK,
        len(vanishing),
        "The tokenizer drops them within a sentence or merges them with a neighbour, so they are tokenised "
        "alone. If they are entities, choose another backbone or write these words differently.",
        ("word",),
        tuple((repr(word) if not word.isprintable() else word,) for word in vanishing[:ROWS]),
    )


def _unknown(view: DataView) -> Finding:
    counts = {split: unknown_words(sentences) for split, sentences in view.splits.items()}
    rows = tuple((split, count, len(view.splits[split])) for split, count in counts.items() if count)
    scored = [split for split, count in counts.items() if count and split != "train"]
    return Finding(
        "unknown_tags",
        "Words of unknown tag",
        Level.PROBLEM if scored else Level.FACT,
        sum(counts.values()),
        f"Scores on {' and '.join(scored)} need every tag. Complete them, or leave those sentences out."
        if scored
        else "Their tag is ?, so training sums over all tags that are possible there.",
        ("split", "words", "sentences of the split"),
        rows,
    )


def _words(view: DataView) -> Finding:
    rows: list[tuple[str, str, str, str]] = []
    differing = 0
    for split, sentences in view.splits.items():
        agreement = word_agreement(sentences[:LOOKED_AT])
        if agreement.share > TOLERATED:
            differing += agreement.differing
            share = f"{agreement.share:.1%}"
            rows += [(word, " ".join(found), split, share) for word, found in agreement.examples]
    return Finding(
        "words",
        "Words that running text does not give",
        Level.LOOK,
        differing,
        f"Counted in the first {LOOKED_AT:,} sentences of each split. A tagger that learns from "
        "other words than predict finds in running text is worse in use than in its test. Give predict "
        "words (--tokenized), or train on words as it finds them. In a text, entities that begin or end "
        "inside a word have split it: check their offsets.",
        ("word", "predict finds", "split", "words of the split that differ"),
        tuple(rows),
    )


def _windows(view: DataView, facts: ReadingFacts) -> Finding:
    window = facts.window or 0
    long = [
        (length, split, index)
        for split, lengths in facts.lengths.items()
        for index, length in enumerate(lengths)
        if window and length > window
    ]
    long.sort(key=lambda each: -each[0])
    rows = []
    for split, lengths in facts.lengths.items():
        ordered = sorted(lengths)
        middle = ordered[(len(ordered) - 1) // 2] if ordered else 0
        rows.append((split, middle, max(ordered, default=0), sum(each[1] == split for each in long)))
    return Finding(
        "windows",
        "Sentences longer than the window",
        Level.LOOK,
        len(long),
        f"A window has room for {window:,} sub-tokens of a sentence. Longer ones are read in overlapping "
        "windows: no word is left out, but words far apart do not see each other.",
        ("split", "median sub-tokens", "most sub-tokens", "sentences in windows"),
        tuple(rows),
        tuple(view.example(split, at, note=f"{length:,} sub-tokens") for length, split, at in long[:SHOWN]),
    )
