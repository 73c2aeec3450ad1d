"""The report's section on limitations: what its figures cannot tell."""

from collections.abc import Iterator

from ner_lightning.analysis.experiment import Experiment
from ner_lightning.analysis.render.blocks import Block, Heading, Items
from ner_lightning.analysis.slices import TYPE
from ner_lightning.data.train_overlap import KEY, TrainOverlap
from ner_lightning.data.word_agreement import WITHIN_WORDS, not_found_in_use
from ner_lightning.runs.fingerprints import shared
from ner_lightning.system.terminal import counted, shortlist


def limitations(run: Experiment, split: str, *, several: bool) -> Iterator[Block]:
    """What the figures above cannot tell."""
    yield Heading(2, "Limitations")
    texts = [*_on_training_data(run), *_in_use(run)]
    if "valid" in run.splits and (run.made_of or len(run.epochs()) > 1):
        chosen = "members' checkpoints were" if run.made_of else "checkpoint was"
        texts.append(f"The {chosen} chosen by F1 on valid, so scores there are slightly too high.")
    if run.folder and "test" not in run.splits:
        texts.append("There are no test predictions: every score is on sentences that took part in choices.")
    if not several:
        seed = run.made_of or (f"seed {run.seed}" if run.seed is not None else "")
        texts.append(f"One run{f', {seed}' if seed else ''}: the variation over seeds is not measured.")
    analysis = run.splits[split]
    counts = {name: len(other.predictions.rows) for name, other in run.splits.items()}
    sizes = [f"{counted(n, 'sentence')} ({name})" for name, n in counts.items()]
    texts.append(f"Scores are of {' and '.join(sizes)}; nothing was measured on other text.")
    texts.append("The annotation is taken as correct; the effect of its own errors is unknown.")
    small = [row.name for row in analysis.slices.get(TYPE, []) if row.gold < 100]
    if small:
        texts.append(f"Fewer than 100 gold entities of {shortlist(small)}: their scores are coarse.")
    untrained = {} if run.prompted else analysis.predictions.untrained
    if untrained:
        missed = shortlist([f"{name} ({count:,} gold)" for name, count in untrained.items()])
        texts.append(f"The training data have no entity of {missed}: a tagger cannot learn these from them.")
    texts += [f"Missing: {reason}." for reason in analysis.predictions.missing()]
    yield Items(texts)


def _on_training_data(run: Experiment) -> Iterator[str]:
    """Which scores are of what was trained on."""
    data = run.about.get("data", {})
    trained = str(data.get("train", {}).get("fingerprint", ""))
    for split in run.splits:
        if shared(str(data.get(split, {}).get("fingerprint", "")), [trained]) == "same":
            yield f"The {split} data are the training data: their scores say nothing of other text."
        elif (known := TrainOverlap(*data.get(split, {}).get(KEY, (0, 0)))).copies:
            yield f"{known.text(split)}, apart from case and digits: expect lower scores of other text."


def _in_use(run: Experiment) -> Iterator[str]:
    """Which scores are higher than in use."""
    for split in run.splits:
        about = run.about.get("data", {}).get(split, {})
        if within := about.get(WITHIN_WORDS):
            yield f"Of the {split} data, {not_found_in_use(within, sum(about['entities'].values()))}."
