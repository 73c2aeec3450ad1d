"""Entities with odd boundaries: punctuation, determiners, half a pair of brackets, white space, touching."""

import re
from collections import Counter
from collections.abc import Callable, Iterator

from ner_lightning.analysis.data_entities import OTHER_BOUNDARIES, UNANNOTATED, Forms, Use, Words
from ner_lightning.analysis.findings import ROWS, SHOWN, DataView, Example, Finding, Level

LONG = 10  # words of an entity
USUAL = 0.2  # share of a type's entities with a determiner, from which on it belongs to them
_LANGUAGES = (  # English, German, French, Spanish and Italian, Dutch, Portuguese, Swedish
    "the a an this that these those my his her its our their",
    "der die das den dem des ein eine einen einem einer",
    "le la les l' un une des du",
    "el los las lo una il gli i",
    "de het een",
    "o os as um uma",
    "en ett",
)
DETERMINERS = frozenset(word for words in _LANGUAGES for word in words.split())
_PAIRS = (("(", ")"), ("[", "]"), ("{", "}"), ("«", "»"), ("<", ">"))
_SUSPECT = re.compile(r"[^\w ]|[\u00ad\u200b-\u200d\u2060\ufeff]")
_INVISIBLE = re.compile(r"^\s|\s$|[\u00ad\u200b-\u200d\u2060\ufeff]|[^\S ]")
_OPENS = re.compile(r"[,;:!?)\]}»%]|\W+$")  # of a first word: what does not begin a name
_ENDS = re.compile(r"[,;:]$|^\W+$")  # of a last word: what does not end one
_QUOTES = frozenset({*"\"'`’“”„«»", "\u2018", "\u00b4", "``", "''"})
_SIGNS = frozenset("#@$£€¥&+°§№")
_ABBREVIATED = 5  # letters of a word before a full stop of its own, at most

Odd = Callable[[Words], bool]


def unbalanced(form: Words) -> bool:
    """Whether a bracket or quote has no partner."""
    text = " ".join(form)
    if any(text.count(opening) != text.count(closing) for opening, closing in _PAIRS):
        return True
    if text.count("``") != text.count("''"):
        return True
    return text.count('"') % 2 == 1 or sum(map(text.count, "„“”")) % 2 == 1


def odd_punctuation(form: Words) -> bool:
    """Whether it begins or ends with punctuation that is no bracket, quote, sign or abbreviation's dot."""
    first, last = form[0], form[-1]
    if not any(map(str.isalnum, "".join(form))):
        return True
    if _OPENS.match(first) and first not in _QUOTES | _SIGNS and first[0] not in "([{<" and first != "...":
        return True
    if not _ENDS.search(last) or last in _QUOTES or last[-1] in ")]}>":
        return False
    before = form[-2] if len(form) > 1 else ""
    return not (last == "." and len(before) <= _ABBREVIATED and before[:1].isupper())


def invisible(form: Words) -> bool:
    """Whether a word has white space at its ends, or characters that nobody sees."""
    return any(_INVISIBLE.search(word) for word in form)


CHECKS: dict[str, tuple[str, str, Odd]] = {
    "unbalanced": (
        "Half a pair of brackets or quotes",
        "An entity has an opening bracket or quote without its partner, or the reverse. Annotate both or "
        "none.",
        unbalanced,
    ),
    "punctuation": (
        "Punctuation at the boundary",
        "An entity begins or ends with punctuation. An exact match needs the same boundary, so leave "
        "punctuation out everywhere, unless it belongs to the name.",
        odd_punctuation,
    ),
    "white_space": (
        "Invisible characters in entities",
        "Words of an entity have white space or invisible characters in them. They look like other words "
        "but are not equal to them; remove these characters.",
        invisible,
    ),
}


def boundaries(view: DataView, forms: Forms) -> Iterator[Finding]:
    """Odd boundaries of each kind."""
    suspect = [form for form in forms if _SUSPECT.search(" ".join(form)) or any(" " in w for w in form)]
    for key, (title, text, odd) in CHECKS.items():
        yield _listed(view, forms, key, title, text, [form for form in suspect if odd(form)])
    yield _determiners(view, forms)
    text = (
        f"They have more than {LONG} words. Long entities are rarely matched exactly; check where they end."
    )
    yield _listed(
        view, forms, "long_entities", "Very long entities", text, [f for f in forms if len(f) > LONG]
    )
    yield _touching(view)


def _annotated(forms: Forms, form: Words) -> list[Use]:
    """The uses as an entity."""
    return [use for use in forms.get(form, ()) if use.reading not in (UNANNOTATED, OTHER_BOUNDARIES)]


def _listed(view: DataView, forms: Forms, key: str, title: str, text: str, odd: list[Words]) -> Finding:
    """A finding on some forms: the most frequent ones as a table, the first occurrences as examples."""
    used = [(form, use, forms[form][use]) for form in odd for use in _annotated(forms, form)]
    counts: Counter[tuple[str, str]] = Counter()
    for form, use, uses in used:
        counts[" ".join(form), use.reading] += uses.count
    ordered = sorted(counts, key=lambda each: (-counts[each], each))
    used.sort(key=lambda each: (-each[2].count, each[:2]))
    examples = tuple(
        view.example(use.split, uses.sentence, uses.start, uses.start + len(form))
        for form, use, uses in used[:SHOWN]
    )
    rows = tuple((form, type_, counts[form, type_]) for form, type_ in ordered[:ROWS])
    return Finding(
        key, title, Level.LOOK, counts.total(), text, ("entity", "type", "entities"), rows, examples
    )


def _determiners(view: DataView, forms: Forms) -> Finding:
    """Entities that begin with a determiner, of types that mostly do not."""
    total: Counter[str] = Counter()
    having: Counter[str] = Counter()
    marked = []
    for form in forms:
        begins = len(form) > 1 and form[0].lower() in DETERMINERS
        if begins:
            marked.append(form)
        for use in _annotated(forms, form):
            total[use.reading] += forms[form][use].count
            having[use.reading] += forms[form][use].count * begins
    rare = {type_ for type_, count in having.items() if 0 < count < USUAL * total[type_]}
    odd: Forms = {}
    for form in marked:
        bare = {use.reading for use in _annotated(forms, form[1:])}
        for use, uses in forms[form].items():
            # A capital belongs to the name, as in Los Angeles, unless the rest is an entity as well.
            if use.reading in rare and (form[0].islower() or use.reading in bare):
                odd.setdefault(form, {})[use] = uses
    text = (
        "An entity begins with a word such as the, of a type that mostly leaves it out. Decide once whether "
        "such words belong to an entity."
    )
    return _listed(view, odd, "determiner", "Determiners in entities", text, list(odd))


def _touching(view: DataView) -> Finding:
    """Entities of one type without a word between them."""
    counts: Counter[tuple[str, str]] = Counter()
    examples: list[Example] = []
    for split, sentences in view.entities.items():
        for index, entities in enumerate(sentences):
            for at in range(1, len(entities)):
                type_, start, end = entities[at]
                if entities[at - 1].end == start and entities[at - 1].type == type_:
                    counts[type_, split] += 1
                    if len(examples) < SHOWN:
                        examples.append(view.example(split, index, entities[at - 1].start, end))
    return Finding(
        "touching",
        "Entities of one type that touch",
        Level.LOOK,
        counts.total(),
        "There is no word between two entities of one type. Often that is one entity whose I- was written as "
        "B-; in lists without commas it is right.",
        ("type", "split", "pairs"),
        tuple((type_, split, count) for (type_, split), count in sorted(counts.items())),
        tuple(examples),
    )
