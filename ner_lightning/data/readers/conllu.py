"""Reads CoNLL-U with named entities in its last column, MISC: `NER=B-PER`, or brackets under `Entity`."""

from collections.abc import Iterator, Sequence
from itertools import chain

from ner_lightning.data.readers.changes import Changes
from ner_lightning.data.readers.conllu_entities import Bracketed, bracketed_spans
from ner_lightning.data.readers.conllu_rows import COLUMNS, ID, UdNode, UdSentence, misc_pairs, ud_sentences
from ner_lightning.data.readers.read_options import Opened, ReadOptions
from ner_lightning.data.readers.record import Record, rejected
from ner_lightning.data.readers.text_lines import lines
from ner_lightning.data.readers.word_spans import with_spans
from ner_lightning.data.schemes import OUTSIDE
from ner_lightning.data.sentence import DataError
from ner_lightning.errors import UserError

SUFFIX = ".conllu"
KEYS = ("NER", "Entity", "ner", "NE")  # of MISC, the first that the file has
_HEAD = 1000  # sentences in which the keys are looked for before any of them is taken


def is_conllu(lines: Sequence[str], suffix: str) -> bool:
    """Whether a file is CoNLL-U.

    Its rows have ten columns between tabs, of which the first numbers the words of each sentence from 1, and
    MISC has one of `KEYS`. In a file that is called .conllu, the first row decides, and no key is needed.

    Args:
        lines: the first lines of the file.
        suffix: the end of its name, as in `.conllu`.
    """
    expected, has_key, has_rows = 1, False, False
    for line in lines:
        if not line.strip():
            expected = 1
        elif not line.startswith("#"):
            cells = line.split("\t")
            match = ID.fullmatch(cells[0])
            if len(cells) != COLUMNS or match is None:
                return False
            if match[2] is None and int(match[1]) != expected:
                return False
            if suffix == SUFFIX:
                return True
            expected += match[2] is None
            has_key = has_key or any(key in misc_pairs(cells[-1]) for key in KEYS)
            has_rows = True
    return has_rows and has_key


def read_conllu(opened: Opened, options: ReadOptions) -> Iterator[Record]:
    """Reads sentences of syntactic words; the word that a range writes counts only if it has the entity.

    Args:
        opened: a UTF-8 file.
        options: how it is read; `tags_column` names the key in MISC, which is otherwise one of `KEYS`.

    Yields:
        A record of words for each sentence, with the file's tags; one of its text if entities overlap.

    Raises:
        DataError: no word has the key in MISC.
    """
    sentences = ud_sentences(lines(opened.file), opened.source)
    if not options.tagged:
        for sentence in sentences:
            yield sentence.record
        return
    key, head = _key(sentences, KEYS if options.tags_column is None else (options.tags_column,))
    if key is None:
        yield from (sentence.record for sentence in head if sentence.record.reason)
        if head:
            wanted = f"no {options.tags_column}=" if options.tags_column else "no NER= and no Entity="
            raise DataError(
                f"{opened.source}:{head[0].record.line}: {wanted} in MISC, the last column; "
                "name the key of the entities with data.files.tags_column"
            )
        return
    changes = Changes()
    for sentence in chain(head, sentences):
        yield sentence.record if sentence.record.reason else _tagged(sentence, key, changes)
    changes.report(opened.source)


def _key(sentences: Iterator[UdSentence], keys: Sequence[str]) -> tuple[str | None, list[UdSentence]]:
    """The first of the keys that the file has, and the sentences that were read to find it."""
    head: list[UdSentence] = []
    found: set[str] = set()
    for sentence in sentences:
        head.append(sentence)
        found.update(key for key in keys if any(key in node.misc for node in sentence.nodes))
        if keys[0] in found or (found and len(head) >= _HEAD):
            break
    return next((key for key in keys if key in found), None), head


def _tagged(sentence: UdSentence, key: str, changes: Changes) -> Record:
    """A sentence with its tags or entities."""
    nodes = _chosen(sentence.nodes, key, changes)
    words = [node for node in nodes if not node.is_empty]
    record = sentence.record._replace(
        content=tuple(word.form for word in words), lines=tuple(word.line for word in words)
    )
    marked = [node for node in nodes if node.misc.get(key, OUTSIDE) not in (OUTSIDE, "_", "")]
    if any(set("()") & set(node.misc[key]) for node in marked):
        return _bracketed(record, nodes, key, sentence.field, changes)
    for node in marked:
        if node.is_empty:
            changes.place = f"line {node.line}"
            changes("empty nodes have an entity and were left out", node.misc[key])
    is_marked = {node.line for node in marked}
    return record._replace(tags=tuple(w.misc[key] if w.line in is_marked else OUTSIDE for w in words))


def _bracketed(
    record: Record, nodes: Sequence[UdNode], key: str, field: int | None, changes: Changes
) -> Record:
    """A sentence with the entities of its brackets."""

    def changed(kind: str, text: str, line: int) -> None:
        changes.place = f"line {line}"
        changes(kind, text)

    values: list[Bracketed] = []
    index = 0
    for node in nodes:
        value = node.misc.get(key, "_")
        if value not in ("_", "", OUTSIDE):
            values.append(Bracketed(index, not node.is_empty, value, node.line))
        index += not node.is_empty
    try:
        return with_spans(record, record.content, bracketed_spans(values, field, changed))
    except UserError as error:
        return rejected(record, f"{key}: {error}")


def _chosen(nodes: Sequence[UdNode], key: str, changes: Changes) -> list[UdNode]:
    """The words and empty nodes; a range instead of its words if it has the key and they do not."""
    replaced: set[int] = set()
    chosen: list[UdNode] = []
    for node in nodes:
        if node.first < node.last:
            inside = range(node.first, node.last + 1)
            own = [word for word in nodes if word.first == word.last and word.first in inside]
            if key in node.misc and not any(key in word.misc for word in own if not word.is_empty):
                changes.place = f"line {node.line}"
                changes(f"ranges have {key} and were read instead of their words", node.form)
                replaced.update(inside)
                chosen.append(node)
        elif node.is_empty or node.first not in replaced:
            chosen.append(node)
    return chosen
