"""What `data audit` writes, and where: a page, lists, weights, and data in order of doubt for other tools."""

import json
import sys
from collections.abc import Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ner_lightning.errors import UserError
from ner_lightning.system.output_checks import check_new, writing
from ner_lightning.system.progress import stage

if TYPE_CHECKING:
    from ner_lightning.analysis.audit_page import Doubt
    from ner_lightning.data.sentence import Sentence

FILES = ("audit.html", "audit.jsonl", "weights.jsonl", "doccano.jsonl", "labelstudio.json")


def check_same_audit(output: Path, facts: Mapping[str, Any], written: Iterable[str]) -> None:
    """Checks that a folder holds nothing that is written there, or the beginning of the same audit.

    Args:
        output: the folder.
        facts: what the folds depend on.
        written: the names of what an audit writes there.

    Raises:
        UserError: it holds another one, or what it holds is damaged, or a file of somebody else.
    """
    from ner_lightning.system.atomic import write_text

    file = output / "audit.json"
    if file.is_file():
        try:
            known = json.loads(file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise UserError(
                f"{file}: not JSON ({error});\nname another --output, or remove this one and audit again"
            ) from None
        if known != dict(facts):
            raise UserError(
                f"--output {output} holds another audit (data, recipe, --folds or --seed differ);\n"
                "name another folder, or remove this one"
            )
        stage(f"Resuming the audit in {output}")
        return
    for name in written:
        check_new(output / name, f"--output {output}: {name}", remedy="name another folder, or move it away")
    with writing(f"--output {output}"):
        output.mkdir(parents=True, exist_ok=True)
        write_text(file, json.dumps(dict(facts), ensure_ascii=False, indent=1) + "\n")


def write_audit(
    output: Path, sentences: Sequence["Sentence"], ranked: Sequence[tuple[int, "Doubt"]], how: str, what: str
) -> None:
    """Writes the results of an audit.

    Args:
        output: the folder.
        sentences: the training sentences, within their limit.
        ranked: index and doubt of each, the most doubtful first.
        how: a line on how they were scored.
        what: the sentences in words, such as `the training data`.
    """
    from dataclasses import replace

    from ner_lightning.analysis.audit_page import audit_blocks
    from ner_lightning.analysis.render.html import html
    from ner_lightning.analysis.render.terminal_text import terminal
    from ner_lightning.data.readers.jsonl import write_jsonl
    from ner_lightning.data.sentence_weights import weight_of, write_weights
    from ner_lightning.data.writers.annotation_writers import write_doccano, write_label_studio
    from ner_lightning.system.atomic import write_text

    doubts = [doubt for _, doubt in ranked]
    blocks = audit_blocks(doubts, how)
    write_text(output / "audit.html", html(blocks))
    rows = [{"index": index, "rank": rank} | doubt._asdict() for rank, (index, doubt) in enumerate(ranked, 1)]
    write_jsonl(output / "audit.jsonl", rows)
    margins = {index: doubt.margin for index, doubt in ranked}
    weights = (weight_of(margins[index]) for index in range(len(sentences)))
    write_weights(output / "weights.jsonl", sentences, weights)
    predicted = {index: tuple(doubt.predicted) for index, doubt in ranked}
    order = _whole_texts(sentences, [index for index, _ in ranked])
    gold = [sentences[index] for index in order]
    write_doccano(output / "doccano.jsonl", gold)
    model = [replace(sentences[index], tags=predicted[index]) for index in order]
    write_label_studio(output / "labelstudio.json", gold, model)
    sys.stdout.write(terminal(blocks))
    stage(
        f"{output}: audit.html, audit.jsonl; {what} in order of doubt for annotation tools: "
        "doccano.jsonl, labelstudio.json; and weights.jsonl for --data.supervision.sentence_weights"
    )


def _whole_texts(sentences: Sequence["Sentence"], order: Sequence[int]) -> list[int]:
    """Indices in order of doubt, but with the sentences of a text together, at its most doubtful one."""
    from ner_lightning.data.writers.annotation_writers import text_key

    texts: dict[Hashable, list[int]] = {}
    for index, sentence in enumerate(sentences):
        texts.setdefault(text_key(sentence), []).append(index)
    of = {index: key for key, indices in texts.items() for index in indices}
    return [index for key in dict.fromkeys(of[index] for index in order) for index in texts[key]]
