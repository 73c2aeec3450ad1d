"""Sentences and documents of a data set that occur in several splits, or twice in training."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from ner_lightning.analysis.findings import SHOWN, DataView, Example, Finding, Level
from ner_lightning.data.near_duplicates import SHORTEST, normalised

COPIED = 0.5  # share of a document's sentences that another split has


def duplicates(view: DataView) -> Iterator[Finding]:
    """Sentences in two splits, documents in two splits, duplicates within splits."""
    first: dict[str, tuple[str, int]] = {}
    across: Counter[tuple[str, str]] = Counter()
    within: dict[str, int] = dict.fromkeys(view.splits, 0)
    repeated: list[tuple[tuple[str, int], tuple[str, int]]] = []
    long: dict[str, Counter[int]] = defaultdict(Counter)  # by split: sentences of each document
    copied: dict[tuple[str, int], Counter[str]] = defaultdict(Counter)
    examples: list[Example] = []
    for split, sentences in view.splits.items():
        per_document = long[split]
        for index, sentence in enumerate(sentences):
            if len(sentence.words) < SHORTEST:
                continue
            per_document[sentence.document] += 1
            origin, at = first.setdefault(normalised(sentence.words), (split, index))
            if (origin, at) != (split, index):
                repeated.append(((split, index), (origin, at)))
            if origin != split:
                across[split, origin] += 1
                copied[split, sentence.document][origin] += 1
                if across[split, origin] <= SHOWN // 2:
                    examples.append(view.example(split, index, note=f"also at {view.location(origin, at)}"))
            elif at != index:
                within[split] += 1
    yield Finding(
        "shared_sentences",
        "Sentences in two splits",
        Level.LOOK,
        across.total(),
        f"Equal apart from case and digits, and of at least {SHORTEST} words; each is counted for the first "
        "split that has it. What was seen in training is easy to tag, so scores come out too high. Remove "
        "them from one of the splits, or split the data anew.",
        ("split", "also in", "sentences", "share"),
        tuple((*pair, count, _share(view, pair[0], count)) for pair, count in across.items()),
        tuple(examples[:SHOWN]),
    )
    yield _documents(view, long, copied)
    yield _contradictions(view, repeated)
    yield Finding(
        "repeated_sentences",
        "Sentences repeated within a split",
        Level.FACT,
        sum(within.values()),
        f"Equal apart from case and digits, and of at least {SHORTEST} words. In training they count several "
        "times; that is harmless unless there are many.",
        ("split", "repetitions", "share"),
        tuple((split, count, _share(view, split, count)) for split, count in within.items() if count),
    )


def _contradictions(view: DataView, repeated: Sequence[tuple[tuple[str, int], tuple[str, int]]]) -> Finding:
    """Sentences that occur again with other entities; `repeated` has each with its first occurrence."""
    counts: Counter[str] = Counter()
    examples: list[Example] = []
    for (split, index), (origin, at) in repeated:
        if view.entities[split][index] != view.entities[origin][at]:
            counts[split] += 1
            if len(examples) < SHOWN:
                there = view.example(origin, at, 0, len(view.splits[origin][at].words)).text()
                end = len(view.splits[split][index].words)
                examples.append(view.example(split, index, 0, end, note=f"otherwise at {there}"))
    return Finding(
        "contradictory_sentences",
        "The same sentence, annotated differently",
        Level.LOOK,
        counts.total(),
        f"Equal apart from case and digits, and of at least {SHORTEST} words, but with other entities than "
        "where they occur first. If several people annotated the same texts, keep one annotation of each; if "
        "a row has only some of a text's entities, merge the rows.",
        ("split", "sentences"),
        tuple(counts.items()),
        tuple(examples),
    )


def _share(view: DataView, split: str, count: int) -> str:
    return f"{count / len(view.splits[split]):.1%}"


def _documents(
    view: DataView, long: dict[str, Counter[int]], copied: dict[tuple[str, int], Counter[str]]
) -> Finding:
    examples: list[Example] = []
    counts: Counter[tuple[str, str]] = Counter()
    for (split, document), origins in copied.items():
        whole = long[split][document]
        origin, shared = origins.most_common(1)[0]
        if len(long[split]) > 1 and whole > 1 and shared >= COPIED * whole:
            counts[split, origin] += 1
            if len(examples) < SHOWN:
                index = next(i for i, s in enumerate(view.splits[split]) if s.document == document)
                note = f"document {document + 1:,}: {shared:,} of {whole:,} sentences are in {origin}"
                examples.append(view.example(split, index, note=note))
    rows = tuple((split, origin, count) for (split, origin), count in counts.items())
    return Finding(
        "shared_documents",
        "Documents in two splits",
        Level.LOOK,
        counts.total(),
        f"At least {COPIED:.0%} of their sentences of {SHORTEST} words or more are in the other split. "
        "Remove these documents from one of the splits.",
        ("split", "also in", "documents"),
        rows,
        tuple(examples),
    )
