"""What an export changed in a tagger with a quantised backbone: scores of tags, and F1, before and after."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ner_lightning.analysis.rows import Row, read_predictions
from ner_lightning.data.schemes import spans
from ner_lightning.data.tokenization.encoding import Encoder
from ner_lightning.errors import UserError
from ner_lightning.inference.scoring import score
from ner_lightning.inference.tagger_files import CHECKPOINT, TaggerFiles
from ner_lightning.metrics.from_counts import scores
from ner_lightning.model.devices import chosen_device
from ner_lightning.model.tagger import Tagger
from ner_lightning.runs.folder import run_of
from ner_lightning.system.progress import stage

SENTENCES = 200  # the first of the validation split
FILE = "predictions.valid.jsonl"


class _Scored(NamedTuple):
    """Emissions of each sentence, *Shape:* (W, C) each, and F1."""

    emissions: list[Tensor]
    f1: float


def compare(files: TaggerFiles, encoder: Encoder, exported: Tagger) -> dict[str, Any] | None:
    """Runs a tagger as it was trained and as it was exported over sentences of its validation split.

    Args:
        files: the tagger's files.
        encoder: from words to sub-tokens.
        exported: without quantised weights; it is moved to a GPU if there is one.

    Returns:
        number of sentences, mean and largest difference of emissions, mean size of emissions, and F1 before
        and after; None if the run has no predictions, which hold words and gold tags.
    """
    run = run_of(files.path) if files.form == CHECKPOINT else None
    try:
        rows = read_predictions(run.path / FILE).rows[:SENTENCES] if run else []
    except UserError:
        rows = []
    if not rows:
        stage("Nothing says what dequantising changed: the run has no predictions of its validation split.")
        return None
    device = chosen_device(None)
    stage(f"Comparing with the {files.settings['quantization']} weights on {len(rows):,} sentences ...")
    before = _scored(files.build(device), encoder, rows)
    after = _scored(exported.to(device), encoder, rows)
    pairs = zip(before.emissions, after.emissions, strict=True)
    moved = torch.cat([(one - other).abs().flatten() for one, other in pairs])
    size = torch.cat([each.abs().flatten() for each in before.emissions]).mean().item()
    found = {
        "sentences": len(rows),
        "emissions": size,
        "mean difference": moved.mean().item(),
        "largest difference": moved.max().item(),
        "f1 before": before.f1,
        "f1 after": after.f1,
    }
    stage(
        f"Dequantised: emissions, {size:.2f} on average, differ by {found['mean difference']:.4f} on average "
        f"and {found['largest difference']:.4f} at most; validation F1 {before.f1:.4f} before, "
        f"{after.f1:.4f} after."
    )
    return found


@torch.inference_mode()
def _scored(tagger: Tagger, encoder: Encoder, rows: Sequence[Row]) -> _Scored:
    emissions: list[Tensor] = [torch.empty(0)] * len(rows)
    counts = [0, 0, 0]
    documents = [row.document or 0 for row in rows]
    for indices, scored, mask in score(tagger, encoder, [row.words for row in rows], documents):
        tags = tagger.decoder.decode(scored, mask)
        for place, index in enumerate(indices):
            length = len(rows[index].words)
            emissions[index] = scored[place, :length].float().cpu()
            found = set(spans(tagger.labels.decode(tags[place, :length].tolist())))
            gold = set(rows[index].gold)
            for number, those in enumerate((found & gold, found, gold)):
                counts[number] += len(those)
    return _Scored(emissions, scores(counts).f1)
