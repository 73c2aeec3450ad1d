"""The prompt: instruction, examples and sentence; and how an answer to it is parsed."""

import random
import re
from collections.abc import Sequence
from typing import NamedTuple

from ner_lightning.data.schemes import UNKNOWN, Span, spans
from ner_lightning.data.sentence import Sentence

Message = dict[str, str]
NONE = "NONE"
LONGEST_SHOT = 40  # words of a sentence that serves as an example
# Descriptions of the types of common data sets; other types must describe themselves.
MEANINGS = {
    "PER": "people",
    "PERSON": "people",
    "ORG": "organisations",
    "LOC": "places",
    "GPE": "countries, cities, states",
    "MISC": "other names, such as nationalities, events and products",
}
_LINE = re.compile(r"[\s>*•\-\d.)]*(?P<type>[^:\n]{1,60}?)[\s*]*:[\s*]*(?P<text>.*?)[\s*]*")
_THOUGHTS = re.compile(r"\A\s*<think>.*?</think>", re.DOTALL)  # of a reasoning model, before its answer
_BLANK = re.compile(r"\n[^\S\n]*\n")
_QUESTION = "Sentence: "
_AROUND = " \t\"'`.,;:!?()[]*\u201c\u201d\u2018\u2019"
_NOTHING = {"none", "n/a", "no entities", "-", ""}


class Reading(NamedTuple):
    """A parsed answer.

    Attributes:
        entities: its entities, without overlap, in order of appearance.
        unread_lines: how many lines are neither `TYPE: words` nor `NONE`.
        absent: how many entities have words that are not in the sentence or are taken.
        failed: whether no line could be read.
        cut: whether it is incomplete, so that its last line is left out.
    """

    entities: list[Span]
    unread_lines: int
    absent: int
    failed: bool
    cut: bool


def instruction(types: Sequence[str]) -> str:
    """The instruction for the model."""
    listed = ", ".join(f"{name} ({MEANINGS[name]})" if name in MEANINGS else name for name in types)
    return (
        f"Find the named entities in a sentence. Their types are: {listed}. For each entity write one line: "
        "its type, a colon, and its words exactly as they stand in the sentence. Write nothing else. If "
        f"there is no entity, write {NONE}."
    )


def messages(types: Sequence[str], shots: Sequence[Sentence], words: Sequence[str]) -> list[Message]:
    """A conversation that ends with the sentence to tag.

    The instruction is part of the first message, because some chat templates have no system message.

    Args:
        types: the entity types.
        shots: tagged sentences, given with their answers.
        words: the sentence.
    """
    turns: list[Message] = []
    for shot in shots:
        turns.append({"role": "user", "content": _question(shot.words)})
        turns.append({"role": "assistant", "content": answer(shot.words, spans(shot.tags or ()))})
    turns.append({"role": "user", "content": _question(words)})
    turns[0]["content"] = f"{instruction(types)}\n\n{turns[0]['content']}"
    return turns


def untemplated(turns: Sequence[Message]) -> str:
    """The same conversation for a model without a chat template."""
    after = {"user": "\nEntities:\n", "assistant": "\n\n"}
    return "".join(turn["content"] + after[turn["role"]] for turn in turns)


def answer(words: Sequence[str], entities: Sequence[Span]) -> str:
    """The gold answer: each entity once, in order of appearance."""
    lines = dict.fromkeys(f"{e.type}: {' '.join(words[e.start : e.end])}" for e in entities)
    return "\n".join(lines) or NONE


def plain_answer(text: str) -> tuple[str, bool]:
    """What a model without a chat template has written: its answer, and whether the answer is complete.

    A blank line ends an answer, as in `untemplated`; such a model then goes on with a question of its own.
    """
    answer, *rest = _BLANK.split(_THOUGHTS.sub("", text).lstrip(), maxsplit=1)
    return answer, bool(rest) and not answer.startswith("<think>")  # whose thoughts may have blank lines


def choose_shots(train: Sequence[Sentence], types: Sequence[str], count: int, seed: int) -> list[Sentence]:
    """Draws examples from the training data: first those with a type not yet covered, then any.

    Args:
        train: tagged sentences.
        types: the entity types.
        count: how many to draw.
        seed: the same one draws the same examples.
    """
    # An answer to one with unknown tags would leave entities out.
    drawn = [s for s in train if len(s.words) <= LONGEST_SHOT and UNKNOWN not in (s.tags or ())]
    random.Random(seed).shuffle(drawn)
    chosen: list[Sentence] = []
    missing = set(types)
    for sentence in drawn:
        present = {span.type for span in spans(sentence.tags or ())}
        if present & missing and len(chosen) < count:
            chosen.append(sentence)
            missing -= present
    rest = [sentence for sentence in drawn if sentence not in chosen]
    return chosen + rest[: count - len(chosen)]


def read_answer(
    text: str, words: Sequence[str], types: Sequence[str], *, ended: bool = True, templated: bool = True
) -> Reading:
    """Parses an answer and keeps the entities that are in the sentence.

    A line as the examples show it, with a type as it is spelled, is read literally; any other leniently.
    An entity must be whole, unchanged words of the sentence; it stands for all its occurrences that no
    earlier line has taken. A line may hold several entities, separated by commas.

    Args:
        text: the answer.
        words: the sentence.
        types: the entity types; case is ignored unless two differ in nothing else.
        ended: whether the model ended the answer. Its last line is left out if not, unless what ends an
            answer is in the text.
        templated: whether a chat template marks its end; otherwise a blank line does, as in `untemplated`.
            What follows a further question, which is the model's own, is no answer.
    """
    text, complete = (_THOUGHTS.sub("", text), False) if templated else plain_answer(text)
    text, question, _ = text.lstrip().partition(f"\n{_QUESTION}")
    cut = not (ended or complete or question)
    lines = text.split("\n")
    parsed = [_line(line.strip(), types) for line in (lines[:-1] if cut else lines) if line.strip()]
    entities = ((kind, part) for kind, text in filter(None, parsed) for part in _parts(text, words))
    named = [(kind, _split(part)) for kind, part in dict.fromkeys(entities)]
    return _reading(named, words, unread=parsed.count(None), lines=len(parsed), cut=cut)


def read_lines(text: str, words: Sequence[str], types: Sequence[str], *, ended: bool = True) -> Reading:
    """Parses an answer that was constrained by `AnswerForm`; arguments as for `read_answer`.

    It is read literally, so that an entity may be an asterisk or the word None.
    """
    lines = [line for line in text.strip(" \n").split("\n") if line]
    lines = lines if ended else lines[:-1]
    parsed = [line.partition(": ") for line in lines if line != NONE]
    named = [(kind, text.split(" ")) for kind, _, text in parsed if kind in types]
    return _reading(named, words, unread=len(parsed) - len(named), lines=len(lines), cut=not ended)


def _reading(
    named: Sequence[tuple[str, Sequence[str]]], words: Sequence[str], *, unread: int, lines: int, cut: bool
) -> Reading:
    """Finds the named entities in the sentence."""
    taken: dict[int, Span] = {}
    absent = sum(not _take(kind, target, words, taken) for kind, target in named)
    entities = sorted(set(taken.values()), key=lambda span: span.start)
    return Reading(entities, unread, absent, failed=unread == lines, cut=cut)


def _question(words: Sequence[str]) -> str:
    return f"{_QUESTION}{' '.join(words)}"


def _line(line: str, types: Sequence[str]) -> tuple[str, str] | None:
    """Type and words of a line; empty words if it states that there are none, None if unreadable."""
    if line.strip(_AROUND).lower() == NONE.lower():
        return "", ""
    kind, text = _literal(line, types) or _lenient(line, types)
    if kind is None:
        return None
    return kind, "" if text.strip(_AROUND).lower() in _NOTHING else text


def _literal(line: str, types: Sequence[str]) -> tuple[str, str] | None:
    """Type and words of a line that begins with a type and a colon, whatever characters the type has."""
    longest_first = sorted(types, key=len, reverse=True)  # `LOC` also begins the lines of a type `LOC:city`
    for spelled in (str, str.lower):
        for name in longest_first:
            begin, rest = line[: len(name) + 1], line[len(name) + 1 :]
            if spelled(begin) == spelled(f"{name}:"):
                return name, rest.strip()
    return None


def _lenient(line: str, types: Sequence[str]) -> tuple[str | None, str]:
    """Type and words of a line with list marks, asterisks or quotes; None for another type or form."""
    match = _LINE.fullmatch(line)
    if match is None:
        return None, ""
    written = match["type"].strip(_AROUND)
    same = [name for name in types if name.strip(_AROUND).lower() == written.lower()]
    exact = [name for name in same if name.strip(_AROUND) == written]
    return next(iter(exact + same), None), match["text"]


def _parts(text: str, words: Sequence[str]) -> list[str]:
    """The entities of a line: the whole line if it is in the sentence, otherwise its parts between commas."""
    whole, bare = " ".join(_split(text)), text.strip(_AROUND)
    if not bare:
        return []
    for form in (whole, bare):
        if _occurrences(_split(form), words):
            return [form]
    return [part for piece in bare.split(",") if (part := piece.strip(_AROUND))]


def _split(text: str) -> list[str]:
    """Words between plain spaces, as prompts have them: a no-break space is within a word."""
    return [word for word in re.split(r"[ \t]+", text) if word]


def _occurrences(target: Sequence[str], words: Sequence[str]) -> list[int]:
    size = len(target)
    return [i for i in range(len(words) - size + 1) if list(words[i : i + size]) == list(target)]


def _take(kind: str, target: Sequence[str], words: Sequence[str], taken: dict[int, Span]) -> bool:
    """Marks the free occurrences of an entity as taken; whether there was one."""
    any_free = False
    for start in _occurrences(target, words):
        inside = range(start, start + len(target))
        if taken.keys().isdisjoint(inside):
            taken.update(dict.fromkeys(inside, Span(kind, start, start + len(target))))
            any_free = True
    return any_free
