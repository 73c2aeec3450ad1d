"""What an instruct model is asked, the examples that it is shown, and how its answer is read."""

import random
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ner_lightning.data.schemes import Span, spans
from ner_lightning.data.sentence import Sentence

Message = dict[str, str]
NONE = "NONE"
LONGEST_SHOT = 40  # words of a sentence that serves as an example
# What the types of the usual data sets mean; others are taken to say it themselves.
MEANINGS = {
    "PER": "people",
    "PERSON": "people",
    "ORG": "organisations",
    "LOC": "places",
    "GPE": "countries, cities, states",
    "MISC": "other names, such as nationalities, events and products",
}
_LINE = re.compile(r"[\s>*•\-\d.)]*(?P<type>[^:\n]{1,60}?)[\s*]*:[\s*]*(?P<text>.*?)[\s*]*")
_AROUND = " \t\"'`.,;:!?()[]*\u201c\u201d\u2018\u2019"
_NOTHING = {"none", "n/a", "no entities", "-", ""}


class Reading(NamedTuple):
    """An answer as it was read.

    Attributes:
        entities: what it names, none overlapping another, in order of appearance.
        lines: how many lines of it are neither `TYPE: words` nor `NONE`.
        absent: how many entities it names whose words are not in the sentence, or are taken.
        failed: whether not one line of it could be read.
    """

    entities: list[Span]
    lines: int
    absent: int
    failed: bool


def instruction(types: Sequence[str]) -> str:
    """What the model is told to do."""
    listed = ", ".join(f"{name} ({MEANINGS[name]})" if name in MEANINGS else name for name in types)
    return (
        f"Find the named entities in a sentence. Their types are: {listed}. For each entity write one line: "
        "its type, a colon, and its words exactly as they stand in the sentence. Write nothing else. If "
        f"there is no entity, write {NONE}."
    )


def messages(types: Sequence[str], shots: Sequence[Sentence], words: Sequence[str]) -> list[Message]:
    """A conversation that ends with a sentence to be answered.

    The instruction is part of the first message, because some chat templates know no system message.

    Args:
        types: the entity types.
        shots: tagged sentences, shown with their answers.
        words: the sentence.
    """
    turns: list[Message] = []
    for shot in shots:
        turns.append({"role": "user", "content": _asked(shot.words)})
        turns.append({"role": "assistant", "content": answer(shot.words, spans(shot.tags or ()))})
    turns.append({"role": "user", "content": _asked(words)})
    turns[0]["content"] = f"{instruction(types)}\n\n{turns[0]['content']}"
    return turns


def plain(turns: Sequence[Message]) -> str:
    """The same conversation for a model without a chat template."""
    after = {"user": "\nEntities:\n", "assistant": "\n\n"}
    return "".join(turn["content"] + after[turn["role"]] for turn in turns)


def answer(words: Sequence[str], entities: Sequence[Span]) -> str:
    """The right answer: each entity once, in order of appearance."""
    lines = dict.fromkeys(f"{e.type}: {' '.join(words[e.start : e.end])}" for e in entities)
    return "\n".join(lines) or NONE


def choose_shots(train: Sequence[Sentence], types: Sequence[str], count: int, seed: int) -> list[Sentence]:
    """Draws examples from the training data: first such as bring a type not yet shown, then any.

    Args:
        train: tagged sentences.
        types: the entity types.
        count: how many to draw.
        seed: the same one draws the same examples.
    """
    drawn = [sentence for sentence in train if len(sentence.words) <= LONGEST_SHOT]
    random.Random(seed).shuffle(drawn)
    chosen: list[Sentence] = []
    missing = set(types)
    for sentence in drawn:
        held = {span.type for span in spans(sentence.tags or ())}
        if held & missing and len(chosen) < count:
            chosen.append(sentence)
            missing -= held
    rest = [sentence for sentence in drawn if sentence not in chosen]
    return chosen + rest[: count - len(chosen)]


def read_answer(text: str, words: Sequence[str], types: Sequence[str], *, ended: bool = True) -> Reading:
    """Reads an answer and keeps of it what is true of the sentence.

    An entity must be whole words of the sentence, as they stand there; named once it stands for all its
    occurrences that no line before has taken. Several may stand in one line, parted by commas.

    Args:
        text: what the model wrote.
        words: the sentence.
        types: the entity types; upper and lower case are alike.
        ended: whether it came to an end; if not, its last line is left out.
    """
    known = {name.lower(): name for name in types}
    lines = text.split("\n\n")[0].strip().split("\n") if text.strip() else []
    lines = lines if ended else lines[:-1]
    taken: dict[int, Span] = {}
    seen: set[tuple[str, str]] = set()
    unread = absent = 0
    for line in lines:
        found = _line(line, known)
        if found is None:
            unread += 1
            continue
        kind, said = found
        for part in _parts(said, words):
            if (kind, part) not in seen:
                seen.add((kind, part))
                absent += not _take(kind, part.split(), words, taken)
    return Reading(_in_order(taken), unread, absent, failed=unread == len(lines))


def read_lines(text: str, words: Sequence[str], types: Sequence[str], *, ended: bool = True) -> Reading:
    """Reads an answer that could take no other form than `Form` allows; arguments as for `read_answer`.

    It passes over nothing, so that an entity may be an asterisk or the word None.
    """
    lines = [line for line in text.strip(" \n").split("\n") if line]
    lines = lines if ended else lines[:-1]
    taken: dict[int, Span] = {}
    unread = absent = 0
    for line in lines:
        kind, _, said = line.partition(": ")
        if kind in types:
            absent += not _take(kind, said.split(" "), words, taken)
        else:
            unread += line != NONE
    return Reading(_in_order(taken), unread, absent, failed=unread == len(lines))


def _in_order(taken: Mapping[int, Span]) -> list[Span]:
    return sorted(set(taken.values()), key=lambda span: span.start)


def _asked(words: Sequence[str]) -> str:
    return f"Sentence: {' '.join(words)}"


def _line(line: str, known: Mapping[str, str]) -> tuple[str, str] | None:
    """Type and words of a line; no words if it says that there are none, None if it says neither."""
    if line.strip(_AROUND).lower() == NONE.lower():
        return "", ""
    match = _LINE.fullmatch(line)
    kind = known.get(match["type"].strip(_AROUND).lower()) if match else None
    if match is None or kind is None:
        return None
    return kind, "" if match["text"].strip(_AROUND).lower() in _NOTHING else match["text"]


def _parts(said: str, words: Sequence[str]) -> list[str]:
    """The entities of a line: all of it if it is in the sentence, else what its commas part."""
    whole, bare = " ".join(said.split()), said.strip(_AROUND)
    if not bare:
        return []
    for form in (whole, bare):
        if _places(form.split(), words):
            return [form]
    return [part for each in bare.split(",") if (part := each.strip(_AROUND))]


def _places(target: Sequence[str], words: Sequence[str]) -> list[int]:
    size = len(target)
    return [at for at in range(len(words) - size + 1) if list(words[at : at + size]) == list(target)]


def _take(kind: str, target: Sequence[str], words: Sequence[str], taken: dict[int, Span]) -> bool:
    """Takes the free occurrences of an entity's words; whether there was one."""
    any_free = False
    for at in _places(target, words):
        inside = range(at, at + len(target))
        if taken.keys().isdisjoint(inside):
            taken.update(dict.fromkeys(inside, Span(kind, at, at + len(target))))
            any_free = True
    return any_free
