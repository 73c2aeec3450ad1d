"""The baseline's run: prompts a split, keeps each answer at once, and writes what other runs write."""

import json
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from ner_lightning.data.pretrained import locate
from ner_lightning.data.readers import columns as conll
from ner_lightning.data.readers import jsonl
from ner_lightning.data.schemes import to_bio2
from ner_lightning.data.sentence import Sentence
from ner_lightning.errors import UserError
from ner_lightning.metrics.entity_f1 import EntityF1
from ner_lightning.metrics.functional import entity_counts
from ner_lightning.model.backbone import identity
from ner_lightning.model.devices import chosen_device
from ner_lightning.prompting.constraint import AnswerForm, Vocabulary
from ner_lightning.prompting.generation import GeneratedAnswer, Prompted
from ner_lightning.prompting.prompt import (
    Reading,
    choose_shots,
    instruction,
    messages,
    read_answer,
    read_lines,
)
from ner_lightning.runs.folder import RECIPE, STAGES, Run
from ner_lightning.runs.provenance import now, provenance
from ner_lightning.system import atomic
from ner_lightning.system.progress import Pace, stage
from ner_lightning.training.callbacks.throughput import peak_memory
from ner_lightning.training.datamodule import CoNLLDataModule
from ner_lightning.training.predictions import describe_split
from ner_lightning.training.second_opinion import agree


@dataclass(frozen=True)
class Settings:
    """What is asked of a baseline.

    Attributes:
        shots: examples from the training data.
        split: what is tagged, `test` or `valid`.
        sentences: how many of its sentences, drawn at random; None for all.
        prompt_seed: of examples and sentences.
        max_new_tokens: the longest answer.
        constrained: leave the model no other answer than lines with words of the sentence.
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
        settings: what is asked.
        model: the settings of `NERModule`; of them the backbone is used.
        data: where sentences and types come from.
        bf16: run the backbone in bf16.
        device: where to run; None takes a GPU if there is one.
    """

    def __init__(
        self,
        settings: Settings,
        model: Mapping[str, Any],
        data: CoNLLDataModule,
        *,
        bf16: bool = False,
        device: str | None = None,
    ) -> None:
        where = chosen_device(device)
        self.settings = settings
        self.data = data
        self.sentences = data.split(settings.split).sentences
        self.places = draw(len(self.sentences), settings.sentences, settings.prompt_seed)
        train = data.split("train").sentences
        self.shots = choose_shots(train, data.types, settings.shots, settings.prompt_seed)
        if len(self.shots) < settings.shots:
            raise UserError(
                f"--shots is {settings.shots}; the training data has {len(self.shots)} short sentences"
            )
        pretrained = locate(model["backbone"], model["revision"])
        self.backbone = {"name": model["backbone"], "weights": identity(pretrained)}
        stage(f"Loading {pretrained.label} with its language-model head ...")
        self.model = Prompted.load(
            pretrained,
            bf16=bf16,
            device=where,
            trust_remote_code=model["trust_remote_code"],
        )

    def begin(self, run: Run, command: Sequence[str], recipe: str) -> None:
        """Writes what is known before the first answer."""
        split = self.settings.split
        about = provenance() | {
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
        run.write("train_entities.json", self.data.entity_counts())
        atomic.write_text(run.path / RECIPE, recipe)

    def answer(self, run: Run, batch_size: int) -> None:
        """Prompts what has no answer yet; every batch is kept as soon as it is there."""
        kept = read_kept(self._file(run))
        left = [place for place in self.places if place not in kept]
        if not left:
            return
        if kept:
            stage(f"{len(kept):,} answers are there already.")
        stage(f"Prompting for {len(left):,} sentences, {self.settings.shots} examples each ...")
        types = self.data.types
        prompts = [self.model.encode(messages(types, self.shots, self.sentences[p].words)) for p in left]
        pace, done, began = Pace("answers", len(left)), 0, time.monotonic()
        limit = self.settings.max_new_tokens
        with self._file(run).open("a", encoding="utf-8") as file:
            forms = self._forms(left)
            for answers in self.model.answers(prompts, batch_size=batch_size, limit=limit, forms=forms):
                for given in answers:
                    row = given._replace(place=left[given.place])._asdict()
                    file.write(json.dumps(row, ensure_ascii=False) + "\n")
                file.flush()
                done += len(answers)
                pace(done)
        spent = run.read("run.json")["prompting"].get("seconds", 0.0) + time.monotonic() - began
        self._note(run, {"seconds": round(spent, 1)})

    def finish(self, run: Run) -> str | None:
        """Reads the answers, and writes predictions and scores as other runs do.

        Returns:
            what seqeval says of the scores.
        """
        split, types = self.settings.split, self.data.types
        kept = read_kept(self._file(run))
        labels = self.data.scored_labels(split)
        self.data.warn_of_unknown(split)
        metric = EntityF1(labels.types)
        rows, readings, counts = [], [], {}
        read = read_lines if self.settings.constrained else read_answer
        for place in self.places:
            sentence, given = self.sentences[place], kept[place]
            reading = read(given.text, sentence.words, types, ended=given.ended)
            readings.append(reading)
            predicted = to_bio2(reading.entities, len(sentence.words))
            gold = list(sentence.tags or ())
            said, true = (torch.tensor([labels.encode(tags)]) for tags in (predicted, gold))
            mask = torch.ones_like(true, dtype=torch.bool)
            metric.update(said, true, mask)
            counts[place] = entity_counts(said, true, mask, len(labels.types)).sum((0, 1)).tolist()
            rows.append(_row(place, sentence, gold, predicted, reading))
        base = run.path / f"predictions.{split}"
        jsonl.write_jsonl(base.with_name(base.name + ".jsonl"), rows)
        conll.write_conll(
            base.with_name(base.name + ".conll"),
            [self.sentences[place] for place in self.places],
            [row["gold"] for row in rows],
            [row["predicted"] for row in rows],
        )
        scores = {name: value for name, value in metric.compute().items() if name != "loss"}
        agreement = agree(base, scores, metric.by_type(), counts)
        values = {f"{STAGES[split]}/{name}": value for name, value in scores.items()}
        run.update("metrics.json", values | {f"{STAGES[split]}/by_type": metric.by_type()})
        self._note(run, summary(readings, [kept[place] for place in self.places]))
        run.update("run.json", {"updated": now(), "peak_memory_bytes": peak_memory()})
        return agreement

    def _forms(self, places: Sequence[int]) -> list[AnswerForm] | None:
        """What the answers to these sentences may look like; None for anything."""
        if not self.settings.constrained:
            return None
        vocabulary = Vocabulary.of(self.model.tokenizer)
        words = (self.sentences[place].words for place in places)
        return [AnswerForm(vocabulary, each, self.data.types, self.model.ends) for each in words]

    def _file(self, run: Run) -> Path:
        return run.path / f"answers.{self.settings.split}.jsonl"

    def _note(self, run: Run, values: Mapping[str, Any]) -> None:
        run.update("run.json", {"prompting": run.read("run.json")["prompting"] | dict(values)})


def draw(count: int, limit: int | None, seed: int) -> list[int]:
    """The places of `limit` out of `count` sentences, in order; the same ones for the same seed."""
    if limit is None or limit >= count:
        return list(range(count))
    return sorted(random.Random(seed).sample(range(count), limit))


def read_kept(file: Path) -> dict[int, GeneratedAnswer]:
    """The answers that are kept, by sentence; a line that was cut short counts as none."""
    kept: dict[int, GeneratedAnswer] = {}
    if not file.is_file():
        return kept
    text = file.read_text(encoding="utf-8", errors="replace")
    whole = text[: text.rfind("\n") + 1]
    if len(whole) < len(text):
        atomic.write_text(file, whole)  # or the next answer would be added to half a line
    for line in whole.split("\n"):
        if line:
            answer = GeneratedAnswer(**json.loads(line))
            kept[answer.place] = answer
    return kept


def summary(readings: Sequence[Reading], answers: Sequence[GeneratedAnswer]) -> dict[str, int]:
    """How many answers and parts of answers could not be read."""
    return {
        "answers": len(readings),
        "failed": sum(reading.failed for reading in readings),
        "unread_lines": sum(reading.lines for reading in readings),
        "absent": sum(reading.absent for reading in readings),
        "cut": sum(not answer.ended for answer in answers),
    }


def _row(
    place: int, sentence: Sentence, gold: list[str], predicted: list[str], reading: Reading
) -> dict[str, Any]:
    return {
        "sentence": place,
        "document": sentence.document,
        "words": list(sentence.words),
        "gold": gold,
        "predicted": predicted,
        "entities": [entity._asdict() for entity in reading.entities],
    }
