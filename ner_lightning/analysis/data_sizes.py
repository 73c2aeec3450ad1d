"""Sizes of a data set, its entity types, and whether a model can be trained on it."""

import re
import statistics
from collections import Counter
from collections.abc import Iterator
from difflib import get_close_matches

from ner_lightning.analysis.findings import SHOWN, Cell, DataView, Finding, Level

RARE = 20  # entities of a type in training
LONG = 200  # words of a sentence
LENGTHS = 6  # words of an entity, beyond which lengths are counted together
SPELT = 5  # letters of a type's name, from which on its spelling is compared
MISSPELT = 20  # times that the other name is more frequent
COMPARED = 100  # types, at most: their number is squared
_LETTERS = re.compile(r"[\W_]+")


def type_counts(view: DataView) -> dict[str, Counter[str]]:
    """Entities by type of each split."""
    return {
        split: Counter(span.type for entities in sentences for span in entities)
        for split, sentences in view.entities.items()
    }


def trainable(view: DataView) -> Iterator[Finding]:
    """What makes training or scoring impossible, or is missing."""
    train = view.splits.get("train", ())
    yield Finding(
        "no_train",
        "No training sentences",
        Level.PROBLEM,
        int(not train),
        "There is no split train, or it is empty. Name a file for it, or split the data.",
    )
    untagged = [s for s, sentences in view.splits.items() if any(each.tags is None for each in sentences)]
    yield Finding(
        "untagged",
        "Sentences without tags",
        Level.PROBLEM,
        len(untagged),
        f"Sentences of {', '.join(untagged)} have no tags. Training and scores need a tag for each word.",
    )
    no_entity = bool(train) and "train" not in untagged and not any(view.entities["train"])
    yield Finding(
        "no_entities",
        "No entity in training",
        Level.PROBLEM,
        int(no_entity),
        "All tags of train are O. Check which column or field has the tags.",
    )
    missing = [split for split in ("valid", "test") if not view.splits.get(split)]
    yield Finding(
        "missing_splits",
        "Missing splits",
        Level.LOOK,
        len(missing),
        f"There are no sentences of {' and '.join(missing)}. The best checkpoint is chosen by F1 on valid, "
        "and a score that can be published needs test. `ner-lightning data split` divides a file; `fit` with "
        "training data alone holds out a tenth for each.",
    )


def sizes(view: DataView) -> Iterator[Finding]:
    """Documents, sentences, words, entities; lengths of sentences and of entities."""
    rows = []
    for split, sentences in view.splits.items():
        lengths = [len(sentence.words) for sentence in sentences]
        rows.append(
            (
                split,
                len({sentence.document for sentence in sentences}),
                len(sentences),
                sum(lengths),
                sum(map(len, view.entities[split])),
                int(statistics.median_low(lengths)) if lengths else 0,
                max(lengths, default=0),
            )
        )
    yield Finding(
        "sizes",
        "Sizes",
        Level.FACT,
        sum(row[2] for row in rows),
        "The median and the longest sentence are in words.",
        ("split", "documents", "sentences", "words", "entities", "median", "longest"),
        tuple(rows),
    )
    lengths_of = {
        split: Counter(min(end - start, LENGTHS + 1) for own in sentences for _, start, end in own)
        for split, sentences in view.entities.items()
    }
    total = sum(lengths_of.values(), Counter[int]())
    yield Finding(
        "entity_lengths",
        "Entities by length",
        Level.FACT,
        total.total(),
        "Lengths are in words.",
        ("words", *lengths_of),
        tuple(
            (str(n) if n <= LENGTHS else f"over {LENGTHS}", *(counts[n] for counts in lengths_of.values()))
            for n in sorted(total)
        ),
    )
    yield _long_sentences(view)


def _long_sentences(view: DataView) -> Finding:
    long = [
        (len(sentence.words), split, index)
        for split, sentences in view.splits.items()
        for index, sentence in enumerate(sentences)
        if len(sentence.words) > LONG
    ]
    counts = Counter(split for _, split, _ in long)
    long.sort(key=lambda each: -each[0])
    return Finding(
        "long_sentences",
        "Very long sentences",
        Level.LOOK,
        len(long),
        f"They have more than {LONG} words. Often a blank line between sentences is missing. They are read "
        "in overlapping windows, which costs time and memory.",
        ("split", "sentences"),
        tuple(counts.items()),
        tuple(view.example(split, at, note=f"{words:,} words") for words, split, at in long[:SHOWN]),
    )


def types(view: DataView) -> Iterator[Finding]:
    """Entities by type; types that are rare or unseen; types whose names differ by case or spelling."""
    counts = type_counts(view)
    total = sum(counts.values(), Counter[str]())
    ordered = sorted(total, key=lambda type_: (-total[type_], type_))
    train = counts.get("train", Counter())
    others = {split: each for split, each in counts.items() if split != "train" and view.splits[split]}

    def finding(key: str, title: str, level: Level, chosen: list[str], text: str) -> Finding:
        rows: list[tuple[Cell, ...]] = [(type_, *(c[type_] for c in counts.values())) for type_ in chosen]
        return Finding(key, title, level, len(chosen), text, ("type", *counts), tuple(rows))

    yield finding(
        "types", "Entities by type", Level.FACT, ordered, "How many entities of each type there are."
    )
    rare = [type_ for type_ in ordered if 0 < train[type_] < RARE]
    text = f"Fewer than {RARE} entities in train are too few to learn a type. Annotate more, or "
    text += "merge types (data.files.rename_types)."
    yield finding("rare_types", "Rare types", Level.LOOK, rare, text)
    unseen = [type_ for type_ in ordered if not train[type_]] if train else []
    text = "They never occur in train, so all their entities are scored as missed. Split the data anew."
    yield finding("unseen_types", "Types unseen in training", Level.LOOK, unseen, text)
    for split, each in others.items():
        absent = [type_ for type_ in ordered if train[type_] and not each[type_]]
        text = f"They never occur in {split}, so their scores there are undefined."
        yield finding(f"types_not_in_{split}", f"Types without entities in {split}", Level.LOOK, absent, text)
    alike = similar_types(total)
    text = (
        "Names differ by case, punctuation or a letter, so they count as different types. Write one of them."
    )
    yield Finding(
        "similar_types",
        "Types of similar names",
        Level.LOOK,
        len(alike),
        text,
        ("names", "entities"),
        tuple((" / ".join(group), ", ".join(f"{total[type_]:,}" for type_ in group)) for group in alike),
    )


def similar_types(total: Counter[str]) -> list[list[str]]:
    """Groups of types whose names are equal in lower case without punctuation, or that look misspelt.

    Args:
        total: entities of each type.
    """
    names: dict[str, list[str]] = {}
    for type_ in sorted(total, key=lambda type_: (-total[type_], type_)):
        names.setdefault(_LETTERS.sub("", type_.casefold()) or type_, []).append(type_)
    groups = [group for group in names.values() if len(group) > 1]
    ordered = list(names)  # most frequent first
    for at, name in enumerate(ordered if len(ordered) <= COMPARED else ()):
        # A rare name that is almost that of a frequent type; numbers tell types apart.
        frequent = [other for other in ordered[:at] if len(other) >= SPELT]
        close = [] if name[-1:].isdigit() else get_close_matches(name, frequent, n=1, cutoff=0.8)
        if close and MISSPELT * total[names[name][0]] < total[names[close[0]][0]]:
            groups.append([names[close[0]][0], names[name][0]])
    return groups
