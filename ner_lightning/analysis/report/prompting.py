"""The report's section on a prompted baseline: the prompt, and what could not be read of the answers."""

from collections.abc import Iterator, Sequence

from ner_lightning.analysis.experiment import Experiment
from ner_lightning.analysis.render.blocks import Block, Code, Table, Text

COUNTS = {  # keys of run.json, and what they count
    "shots": "examples",
    "answers": "answers",
    "failed": "unreadable",
    "unread_lines": "unreadable lines",
    "absent": "not in the sentence",
    "cut": "cut short",
}


def prompting(run: Experiment) -> Iterator[Block]:
    """How the model was prompted and its answers were read; nothing for a trained run."""
    settings = run.prompted
    if not settings:
        return
    yield Text(
        "Nothing was trained: the backbone, with its language-model head, was asked for the entities of each "
        "sentence and generated its answer greedily. Of an answer counts what is whole words of the "
        "sentence, unchanged; an entity that is named once stands for all its occurrences."
    )
    yield Code(str(settings["instruction"]))
    template = "the chat template" if settings["chat_template"] else "plain text: there is no chat template"
    constrained = settings.get("constrained", False)  # absent from older runs
    rows = [
        ["examples from the training data", str(settings["shots"])],
        ["conversation", template],
        ["sentences", f"{settings['sentences']:,}, drawn at random" if settings["sentences"] else "all"],
        ["seed of examples and sentences", str(settings["prompt_seed"])],
        ["longest answer", f"{settings['max_new_tokens']} tokens"],
        ["decoding", "constrained to types and words of the sentence" if constrained else "free"],
    ]
    if "seconds" in settings:
        rows.append(["time for all answers", f"{settings['seconds']:,.0f} s"])
    yield Table("How it was prompted", ["", ""], rows, prose=True)
    yield from unread_answers([run])


def unread_answers(runs: Sequence[Experiment]) -> Iterator[Block]:
    """What could not be read, for those of the runs that were prompted."""
    rows = [
        [run.name, *(f"{run.prompted[name]:,}" for name in COUNTS)]
        for run in runs
        if "answers" in run.prompted
    ]
    if rows:
        caption = "What could not be read of prompted answers; it counts as not predicted"
        yield Table(caption, ["run", *COUNTS.values()], rows)
