"""Builds the sample corpus from its two annotations, and prints its figures.

`python -m ner_lightning.data.sample.make_corpus` prints the figures; with `--write` it writes train.conll,
valid.conll, test.conll and the block of figures in README.md. The address of a sentence is
`domain:document:number`, with numbers from 1. Inconsistent files raise a DataError.
"""

import argparse
import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from ner_lightning.data.readers.columns import write_conll
from ner_lightning.data.sample.figures import entities, entity_f1, kappa, tag_by_dictionary, unseen
from ner_lightning.data.schemes import Span, to_bio2
from ner_lightning.data.sentence import DataError, Sentence

HERE = Path(__file__).parent
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
TYPES = ("PER", "ORG", "LOC", "MISC")
DOMAINS = ("news", "sport", "finance", "science", "everyday")
SPLITS = ("train", "valid", "test")
Sentences = dict[str, Sentence]  # by address, in the order of the files
_TOKEN = re.compile(rf"(?:\[({'|'.join(TYPES)})((?: [^\[\]\s]+)+)\]|([^\[\]\s]+))(?: (?=.)|$)")
_DECISION = re.compile(r"(\S+) (first|second)  \S.*")
_HELD_OUT = re.compile(r"(\S+) (valid|test)")


def parse(line: str, document: int, where: str) -> Sentence:
    """Reads a sentence with entities as `[TYPE word word]`; errors begin with `where`, a file and line."""
    words: list[str] = []
    spans = []
    position = 0
    while match := _TOKEN.match(line, position):
        type_, inside, word = match.groups()
        start = len(words)
        words += inside.split() if type_ else [word]
        if type_:
            spans.append(Span(type_, start, len(words)))
        position = match.end()
    if position < len(line) or not words:
        raise DataError(
            f"{where}: write words and [TYPE word word], separated by single spaces: {line[position:]!r:.30}"
        )
    return Sentence(tuple(words), tuple(to_bio2(spans, len(words))), document)


def read_annotation(folder: Path) -> Sentences:
    """Reads one annotation: a file for each domain."""
    sentences: Sentences = {}
    documents: list[str] = []
    number = 0
    for domain in DOMAINS:
        opening = f"# document: {domain}-"
        for where, line in _lines(folder / f"{domain}.txt"):
            if line.startswith("#"):
                name = f"{domain}:{line.removeprefix(opening)}"
                if not line.startswith(opening) or name in documents:
                    raise DataError(f"{where}: write '{opening}NAME' with a unique name")
                documents.append(name)
                number = 0
                continue
            if not documents:
                raise DataError(f"{where}: a sentence before the first document")
            number += 1
            sentences[f"{documents[-1]}:{number}"] = parse(line, len(documents) - 1, where)
    return sentences


def adjudicate(first: Sentences, second: Sentences, decisions: dict[str, str]) -> Sentences:
    """Merges the annotations; where they differ, takes the one named by the decision."""
    if {key: one.words for key, one in first.items()} != {key: one.words for key, one in second.items()}:
        raise DataError("the two annotations do not have the same words and documents")
    different = {key for key in first if first[key] != second[key]}
    for key in sorted(different ^ decisions.keys()):
        problem = "the annotations differ, add a decision" if key in different else "there is no difference"
        raise DataError(f"decisions.txt: {key}: {problem}")
    return {key: second[key] if decisions.get(key) == "second" else one for key, one in first.items()}


def correct(corpus: Sentences, path: Path) -> Sentences:
    """Applies corrections: a comment line with the reason, then a line `ADDRESS  corrected sentence`."""
    corrected = dict(corpus)
    before = ""
    for where, line in _lines(path):
        if not line.startswith("#"):
            address, _, markup = line.partition("  ")
            old = corpus.get(address)
            if old is None or not before.startswith("#"):
                raise DataError(f"{where}: write '# REASON', and on the next line 'ADDRESS  SENTENCE'")
            new = parse(markup, old.document, where)
            if new.words != old.words or new.tags == old.tags:
                raise DataError(f"{where}: keep the words and change the entities")
            corrected[address] = new
        before = line
    return corrected


def split(corpus: Sentences, held_out: dict[str, str]) -> dict[str, list[Sentence]]:
    """Distributes whole documents over train, valid and test, in their order."""
    documents = {key: key.rpartition(":")[0] for key in corpus}
    if unknown := held_out.keys() - documents.values():
        raise DataError(f"splits.txt: no such document: {', '.join(sorted(unknown))}")
    parts: dict[str, list[Sentence]] = {part: [] for part in SPLITS}
    for key, sentence in corpus.items():
        parts[held_out.get(documents[key], "train")].append(sentence)
    return parts


class Sample:
    """The corpus, built from its files.

    Attributes:
        first: one annotation, by address; `second` is the other one.
        decisions: "first" or "second", where the annotations differ, by address.
        corrections: number of sentences corrected after that.
        parts: the sentences of each split.
    """

    def __init__(self, folder: Path = HERE / "annotations") -> None:
        self.first = read_annotation(folder / "first")
        self.second = read_annotation(folder / "second")
        self.decisions = _table(folder / "decisions.txt", _DECISION)
        agreed = adjudicate(self.first, self.second, self.decisions)
        corpus = correct(agreed, folder / "corrections.txt")
        self.corrections = sum(corpus[key] != agreed[key] for key in corpus)
        self.parts = split(corpus, _table(folder / "splits.txt", _HELD_OUT))

    def report(self) -> str:
        """The figures, as Markdown."""
        train, test = self.parts["train"], self.parts["test"]
        one, other = list(self.first.values()), list(self.second.values())
        took = Counter(self.decisions.values())
        lines = [f"| split | documents | sentences | words | entities | {' | '.join(TYPES)} |"]
        lines.append("|---" * (5 + len(TYPES)) + "|")
        everything = [sentence for part in self.parts.values() for sentence in part]
        for name, part in [*self.parts.items(), ("all", everything)]:
            types = Counter(span.type for _, span, _ in entities(part))
            sizes = [len({s.document for s in part}), len(part), sum(len(s.words) for s in part)]
            cells = [*sizes, types.total(), *(types[name] for name in TYPES)]
            lines.append(f"| {name} | {' | '.join(f'{cell:,}' for cell in cells)} |")
        f1, agree = entity_f1(one, other), kappa(one, other)
        lines += [
            "",
            f"- Agreement of the two annotations: entity F1 {f1:.4f}; kappa over words' tags {agree:.4f}.",
            f"- Sentences where they differ: {len(self.decisions)}; decided for the first annotation "
            f"{took['first']}, for the second {took['second']}.",
            f"- Sentences corrected where both were wrong: {self.corrections}.",
            f"- Dictionary baseline, F1 on test: {entity_f1(tag_by_dictionary(train, test), test):.4f}.",
            f"- Test entities whose surface form is not an entity in training: {unseen(train, test):.1%}.",
        ]
        return "\n".join(lines)

    def write(self, folder: Path) -> None:
        """Writes a CoNLL file for each split, and the figures into the folder's README.md."""
        for name, part in self.parts.items():
            write_conll(folder / f"{name}.conll", part, [s.tags or () for s in part])
        readme = folder / "README.md"
        head, rest = readme.read_text(encoding="utf-8").split(BEGIN)
        _, tail = rest.split(END)
        readme.write_text(f"{head}{BEGIN}\n{self.report()}\n{END}{tail}", encoding="utf-8")


def main(args: Sequence[str] | None = None) -> None:
    """Prints the figures; with `--write`, writes the files as well."""
    parser = argparse.ArgumentParser(allow_abbrev=False, description="Builds and measures the sample corpus.")
    parser.add_argument("--write", action="store_true", help="write the CoNLL files and the README's figures")
    options = parser.parse_args(args)
    sample = Sample()
    sys.stdout.write(sample.report() + "\n")
    if options.write:
        sample.write(HERE)


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    """Lines that are not blank, each with its file:line."""
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), start=1):
        if line:
            yield f"{path}:{number}", line


def _table(path: Path, row: re.Pattern[str]) -> dict[str, str]:
    """Reads rows of a key and a value; comments begin with #."""
    table: dict[str, str] = {}
    for where, line in _lines(path):
        if line.startswith("#"):
            continue
        match = row.fullmatch(line)
        if not match or match[1] in table:
            raise DataError(f"{where}: expected {row.pattern!r}, once for each key")
        table[match[1]] = match[2]
    return table


if __name__ == "__main__":
    main()
