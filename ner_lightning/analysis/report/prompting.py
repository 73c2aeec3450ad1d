"""The report's section on a prompted baseline: what was asked, and what could not be read of the answers."""

from collections.abc import Iterator, Sequence

from ner_lightning.analysis.experiment import Experiment
from ner_lightning.analysis.render.blocks import Block, Code, Heading, Table, Text

COUNTED = ("shots", "answers", "failed", "unread_lines", "absent", "cut")


def prompting(run: Experiment) -> Iterator[Block]:
    """What the model was asked and how its answers were read; nothing for a trained run."""
    if not run.prompted:
        return
    asked = run.prompted
    yield Heading(2, "Prompt")
    yield Text(
        "Nothing was trained: the backbone, with its language-model head, was asked for the entities of each "
        "sentence and wrote its answer greedily. Of an answer counts what is whole words of the "
        "sentence as they stand there; named once, an entity stands for all its occurrences."
    )
    yield Code(str(asked["instruction"]))
    template = (
        "its tokenizer's chat template" if asked["chat_template"] else "plain text: it has no chat template"
    )
    constrained = asked.get("constrained", False)  # older runs do not name it
    drawn = f"{asked['sentences']:,}, drawn at random" if asked["sentences"] else "all"
    rows = [
        ["examples from the training data", str(asked["shots"])],
        ["conversation", template],
        ["sentences", drawn],
        ["seed of examples and sentences", str(asked["prompt_seed"])],
        ["longest answer", f"{asked['max_new_tokens']} tokens"],
        ["decoding", "constrained to types and words of the sentence" if constrained else "free"],
    ]
    if "seconds" in asked:
        rows.append(["time for all answers", f"{asked['seconds']:,.0f} s"])
    yield Table("How it was prompted", ["", ""], rows, prose=True)
    yield from failures([run])


def failures(runs: Sequence[Experiment]) -> Iterator[Block]:
    """What could not be read, for those of the runs that were prompted."""
    rows = [
        [
            run.name,
            *(
                f"{run.prompted[name]:,}"
                for name in ("shots", "answers", "failed", "unread_lines", "absent", "cut")
            ),
        ]
        for run in runs
        if "answers" in run.prompted
    ]
    if rows:
        head = [
            "run",
            "examples",
            "answers",
            "unreadable",
            "unreadable lines",
            "not in the sentence",
            "cut short",
        ]
        yield Table("What could not be read of prompted answers; it counts as not predicted", head, rows)
