"""The baseline's run: prompts a split, saves answers at once, and writes the files of any other run."""

import json
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from ner_lightning.data.positions import positions
from ner_lightning.data.pretrained import locate
from ner_lightning.data.readers.columns import write_conll
from ner_lightning.data.readers.jsonl import write_jsonl
from ner_lightning.data.schemes import to_bio2
from ner_lightning.errors import UserError
from ner_lightning.metrics.entity_f1 import EntityF1
from ner_lightning.metrics.functional import entity_counts
from ner_lightning.model.backbone import fingerprint
from ner_lightning.model.devices import chosen_device
from ner_lightning.model.tagger_settings import TaggerSettings
from ner_lightning.prompting.constraint import AnswerForm, Vocabulary
from ner_lightning.prompting.generation import PromptedModel
from ner_lightning.prompting.prompt import (
    Reading,
    choose_shots,
    instruction,
    messages,
    read_answer,
    read_lines,
)
from ner_lightning.prompting.saved_answers import read_saved, unread_counts
from ner_lightning.runs.folder import RECIPE, STAGES, Run
from ner_lightning.runs.provenance import now, run_provenance
from ner_lightning.system.atomic import write_text
from ner_lightning.system.progress import Pace, stage
from ner_lightning.training.callbacks.throughput import peak_memory
from ner_lightning.training.datamodule import CoNLLDataModule
from ner_lightning.training.prediction_rows import describe_split
from ner_lightning.training.seqeval_check import agree


@dataclass(frozen=True)
class Settings:
    """Settings of a baseline.

    Attributes:
        shots: examples from the training data.
        split: the split to tag, `test` or `valid`.
        sentences: how many of its sentences, drawn at random; None for all. A run keeps None where the split
            has no more than that.
        prompt_seed: the seed of examples and sentences.
        max_new_tokens: the longest answer.
        constrained: restrict answers to lines with words of the sentence.
    """

    shots: int
    split: str
    sentences: int | None
    prompt_seed: int
    max_new_tokens: int
    constrained: bool = False


class Baseline:
    """A backbone that is prompted, the data that it tags, and the settings.

    Args:
        settings: of the baseline.
        model: settings of a tagger, of which the backbone is used.
        data: the source of sentences and types.
        bf16: run the backbone in bf16.
        device: where to run; None takes a GPU if there is one.
    """

    def __init__(
        self,
        settings: Settings,
        model: TaggerSettings,
        data: CoNLLDataModule,
        *,
        bf16: bool,
        device: str | None,
    ) -> None:
        self.data = data
        self.sentences = data.corpus.split(settings.split).sentences
        if settings.sentences is not None and settings.sentences >= len(self.sentences):
            settings = replace(settings, sentences=None)
        self.settings = settings
        self.indices = draw(len(self.sentences), settings.sentences, settings.prompt_seed)
        train = data.corpus.split("train").sentences
        self.shots = choose_shots(train, data.types, settings.shots, settings.prompt_seed)
        if len(self.shots) < settings.shots:
            raise UserError(
                f"--shots is {settings.shots}; the training data has {len(self.shots)} short sentences"
            )
        self.trust = model.runtime.trust_remote_code
        self.pretrained = pretrained = locate(model.backbone, model.revision)
        self.backbone = {"name": model.backbone, "weights": fingerprint(pretrained)}
        stage(f"Loading {pretrained.label} with its language-model head ...")
        self.model = PromptedModel.load(
            pretrained,
            bf16=bf16,
            device=chosen_device(device),
            trust_remote_code=self.trust,
        )

    def begin(self, run: Run, command: Sequence[str], recipe: str) -> None:
        """Writes the files that do not depend on answers."""
        split = self.settings.split
        about = run_provenance() | {
            "command": list(command),
            "started": now(),
            "seed": self.settings.prompt_seed,
            "types": self.data.types,
            "backbone": self.backbone,
            "parameters": sum(p.numel() for p in self.model.model.parameters()),
            "trained_parameters": 0,
            "data": {name: describe_split(self.data, name) for name in ("train", split)},
            "prompting": asdict(self.settings)
            | {"instruction": instruction(self.data.types), "chat_template": self.model.has_template},
        }
        run.write("run.json", about)
        run.write("train_entities.json", self.data.corpus.entity_counts())
        write_text(run.path / RECIPE, recipe)

    def answer(self, run: Run, batch_size: int) -> None:
        """Prompts for the sentences without an answer; every batch is saved at once."""
        answered = read_saved(self._file(run))
        remaining = [index for index in self.indices if index not in answered]
        if not remaining:
            return
        if answered:
            stage(f"{len(answered):,} answers are there already.")
        stage(f"Prompting for {len(remaining):,} sentences, {self.settings.shots} examples each ...")
        types = self.data.types
        prompts = [self.model.encode(messages(types, self.shots, self.sentences[i].words)) for i in remaining]
        self._check_positions(max(map(len, prompts)))
        pace, done, began = Pace("answers", len(remaining)), 0, time.monotonic()
        before = run.read("run.json")["prompting"].get("seconds", 0.0)
        limit = self.settings.max_new_tokens
        with self._file(run).open("a", encoding="utf-8") as file:
            forms = self._forms(remaining)
            for answers in self.model.answers(prompts, batch_size=batch_size, limit=limit, forms=forms):
                for answer in answers:
                    row = answer._replace(sentence=remaining[answer.sentence])._asdict()
                    file.write(json.dumps(row, ensure_ascii=False) + "\n")
                file.flush()
                self._note(run, {"seconds": round(before + time.monotonic() - began, 1)})
                done += len(answers)
                pace(done)

    def _check_positions(self, longest: int) -> None:
        """Checks that the longest prompt and its answer fit into the backbone's positions.

        Raises:
            UserError: they do not, and answers would be noise.
        """
        limit, settings = positions(self.pretrained, self.trust), self.settings
        if limit is not None and longest + settings.max_new_tokens > limit:
            raise UserError(
                f"prompts have up to {longest:,} sub-tokens and answers up to {settings.max_new_tokens}, but "
                f"{self.pretrained.label} has positions for {limit:,};\n"
                f"lower --shots (now {settings.shots}) or --max_new_tokens, or name a backbone with more"
            )

    def finish(self, run: Run) -> str | None:
        """Parses the answers, and writes predictions and scores like any other run.

        Returns:
            the comparison of the scores with seqeval's.
        """
        split, types = self.settings.split, self.data.types
        answers = read_saved(self._file(run))
        labels = self.data.corpus.scored_labels(split)
        self.data.corpus.warn_of_unknown(split)
        metric = EntityF1(labels.types)
        rows: list[dict[str, Any]] = []
        readings, counts = [], {}
        read: Callable[..., Reading] = read_lines if self.settings.constrained else self._read
        for index in self.indices:
            sentence, answer = self.sentences[index], answers[index]
            reading = read(answer.text, sentence.words, types, ended=answer.ended)
            readings.append(reading)
            predicted_tags, gold_tags = (
                to_bio2(reading.entities, len(sentence.words)),
                list(sentence.tags or ()),
            )
            predicted, gold = (torch.tensor([labels.encode(tags)]) for tags in (predicted_tags, gold_tags))
            mask = torch.ones_like(gold, dtype=torch.bool)
            metric.update(predicted, gold, mask)
            counts[index] = entity_counts(predicted, gold, mask, len(labels.types)).sum((0, 1)).tolist()
            rows.append(
                {
                    "sentence": index,
                    "document": sentence.document,
                    "words": list(sentence.words),
                    "gold": gold_tags,
                    "predicted": predicted_tags,
                    "entities": [entity._asdict() for entity in reading.entities],
                }
            )
        base = run.path / f"predictions.{split}"
        write_jsonl(base.with_name(base.name + ".jsonl"), rows)
        write_conll(
            base.with_name(base.name + ".conll"),
            [self.sentences[index] for index in self.indices],
            *([row[side] for row in rows] for side in ("gold", "predicted")),
        )
        scores = {name: value for name, value in metric.compute().items() if name != "loss"}
        agreement = agree(base, scores, metric.by_type(), counts)
        values = scores | {"by_type": metric.by_type()}
        run.update("metrics.json", {f"{STAGES[split]}/{name}": value for name, value in values.items()})
        self._note(run, unread_counts(readings))
        run.update("run.json", {"updated": now(), "peak_memory_bytes": peak_memory(self.model.device)})
        return agreement

    def _forms(self, indices: Sequence[int]) -> list[AnswerForm] | None:
        """The forms of the answers to these sentences; None for no constraint."""
        if not self.settings.constrained:
            return None
        vocabulary = Vocabulary.of(self.model.tokenizer)
        types, ends = self.data.types, self.model.ends
        return [AnswerForm(vocabulary, self.sentences[index].words, types, ends) for index in indices]

    def _read(self, text: str, words: Sequence[str], types: Sequence[str], *, ended: bool) -> Reading:
        return read_answer(text, words, types, ended=ended, templated=self.model.has_template)

    def _file(self, run: Run) -> Path:
        return run.path / f"answers.{self.settings.split}.jsonl"

    def _note(self, run: Run, values: Mapping[str, Any]) -> None:
        run.update("run.json", {"prompting": run.read("run.json")["prompting"] | dict(values)})


def draw(count: int, limit: int | None, seed: int) -> list[int]:
    """The indices of `limit` out of `count` sentences, sorted; the same ones for the same seed."""
    if limit is None:
        return list(range(count))
    return sorted(random.Random(seed).sample(range(count), limit))
