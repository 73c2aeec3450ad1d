"""What a teacher says of the tags of sentences: its distribution over tag sequences, kept in a folder.

It is a linear chain's, so its marginals and its expected transitions are all that a student needs of it
(`model/crf/divergence`). `ner-lightning distill` writes the folder; `data.supervision.teacher` names it.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ner_lightning.data.sentence import Sentence
from ner_lightning.errors import UserError
from ner_lightning.system.unfinished import complete, remove_abandoned, unfinished
from ner_lightning.system.user_paths import expanded

OPTION = "data.supervision.teacher"
ABOUT, TEXT = "teacher.json", "text.jsonl"
FORMAT = 1
_DESCRIBED = {"types", "sentences", "words", "temperature"}  # in teacher.json
_ARRAYS = ("marginals", "transitions", "entropy")


class TeacherTags(NamedTuple):
    """A teacher's distribution over the tag sequences of a batch.

    Attributes:
        marginals: probability of each tag at each word, 0 on padding. *Shape:* (B, W, C)
        transitions: expected number of each transition (from, to); the last row and column are those from and
            to the outside of the sentence. *Shape:* (B, C + 1, C + 1)
        entropy: in nats. *Shape:* (B,)
        temperature: by which the teacher's scores were divided, and the student's are.
    """

    marginals: Tensor
    transitions: Tensor
    entropy: Tensor
    temperature: float

    def moved(self, change: Callable[[Tensor], Tensor]) -> "TeacherTags":
        """The same with each tensor changed, as to another device."""
        marginals, transitions, entropy = map(change, self[:3])
        return TeacherTags(marginals, transitions, entropy, self.temperature)


@dataclass(frozen=True, eq=False)
class TeacherStore:
    """A folder with what a teacher says of training sentences, and of untagged ones after them; read-only.

    Attributes:
        about: what the folder says of its making: teacher, temperature, sentences, types.
        text: the untagged sentences.
        starts: index of each sentence's first word, and at the end the number of words. *Shape:* (N + 1,)
        marginals: *Shape:* (words, C)
        transitions: *Shape:* (N, C + 1, C + 1)
        entropy: *Shape:* (N,)
    """

    about: Mapping[str, Any]
    text: Sequence[Sentence]
    starts: NDArray[np.int64]
    marginals: NDArray[np.float32]
    transitions: NDArray[np.float32]
    entropy: NDArray[np.float64]

    def batch(self, index: Tensor, mask: Tensor) -> TeacherTags:
        """What the teacher says of sentences.

        Args:
            index: of each sentence, the untagged ones after the training sentences. *Shape:* (B,)
            mask: True on words. *Shape:* (B, W)
        """
        rows = index.numpy()
        marginals = np.zeros((*mask.shape, self.marginals.shape[1]), dtype=np.float32)
        spans = [range(self.starts[row], self.starts[row + 1]) for row in rows]
        marginals[mask.numpy()] = self.marginals[np.concatenate(spans)]
        return TeacherTags(
            torch.from_numpy(marginals),
            torch.from_numpy(self.transitions[rows]),
            torch.from_numpy(self.entropy[rows].astype(np.float32)),  # Apple's GPUs have no float64
            float(self.about["temperature"]),
        )


def words_digest(sentences: Iterable[Sentence]) -> str:
    """SHA-256 of the words of sentences, and of which are of one document."""
    digest = hashlib.sha256()
    for sentence in sentences:
        digest.update(json.dumps([sentence.document, *sentence.words]).encode())
    return digest.hexdigest()


def about_teacher(folder: str) -> dict[str, Any]:
    """What a folder says of its making.

    Raises:
        UserError: it is not such a folder, or of a later version.
    """
    file = expanded(folder) / ABOUT
    try:
        about: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        version = int(about["format"])
        if version <= FORMAT and not about.keys() >= _DESCRIBED:
            raise KeyError("a part is missing")
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(
            f"{OPTION}: {folder} is not a folder that `ner-lightning distill` wrote (no usable {ABOUT})"
        ) from None
    if version > FORMAT:
        raise UserError(f"{OPTION}: {folder} was written by a later ner-lightning; upgrade this one")
    return about


def read_teacher(folder: str, sentences: Sequence[Sentence], types: Sequence[str]) -> TeacherStore:
    """Opens a folder.

    Args:
        folder: its path.
        sentences: the training sentences.
        types: the entity types.

    Raises:
        UserError: it was written for other training sentences or types, or lacks a file.
    """
    about, path = about_teacher(folder), expanded(folder)
    if about["types"] != list(types):
        raise UserError(
            f"{OPTION}: {folder} was written for the entity types {', '.join(about['types'])}, "
            f"not {', '.join(types)};\nrun `ner-lightning distill` for these data"
        )
    if about["sentences"] != len(sentences) or about["words"] != words_digest(sentences):
        raise UserError(
            f"{OPTION}: {folder} was written for {about['sentences']:,} training sentences, which are not "
            f"these {len(sentences):,};\nrun `ner-lightning distill` for these data"
        )
    try:
        text = [
            Sentence(tuple(row["words"]), None, row["document"])
            # Not splitlines: a word may hold a character, such as U+2028, that it takes for a line break.
            for row in map(json.loads, (path / TEXT).read_text(encoding="utf-8").split("\n")[:-1])
        ]
        arrays = {name: np.load(path / f"{name}.npy", mmap_mode="r") for name in _ARRAYS}
    except (OSError, EOFError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{OPTION}: {folder} is incomplete ({error}); remove it and distill again") from None
    starts = np.cumsum([0, *(len(sentence.words) for sentence in (*sentences, *text))])
    if len(arrays["entropy"]) + 1 != len(starts) or len(arrays["marginals"]) != starts[-1]:
        raise UserError(f"{OPTION}: {folder} is incomplete; remove it and distill again")
    return TeacherStore(about, text, starts, **arrays)


class TeacherWriter:
    """Writes a folder, which gets its name only when it is complete.

    Args:
        folder: its path.
        sentences: the training sentences.
        text: the untagged ones.
        num_tags: number of tags, C.

    Raises:
        UserError: the folder cannot be written.
    """

    def __init__(
        self, folder: Path, sentences: Sequence[Sentence], text: Sequence[Sentence], num_tags: int
    ) -> None:
        self.folder = folder
        self.part = unfinished(folder)
        self.text, self.sentences = text, sentences
        lengths = [len(sentence.words) for sentence in (*sentences, *text)]
        self._starts = np.cumsum([0, *lengths])
        shapes: dict[str, tuple[tuple[int, ...], Any]] = {
            "marginals": ((int(self._starts[-1]), num_tags), np.float32),
            "transitions": ((len(lengths), num_tags + 1, num_tags + 1), np.float32),
            "entropy": ((len(lengths),), np.float64),
        }
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            remove_abandoned(folder.parent)
            self.part.mkdir()
            self._arrays = {
                name: np.lib.format.open_memmap(self.part / f"{name}.npy", "w+", dtype=dtype, shape=shape)
                for name, (shape, dtype) in shapes.items()
            }
        except OSError as error:
            raise UserError(f"{folder} cannot be written: {error.strerror}") from None

    def put(self, index: int, marginals: Tensor, transitions: Tensor, entropy: float) -> None:
        """Writes a sentence's distribution. *Shape:* (words of the sentence, C), (C + 1, C + 1)."""
        begin, end = self._starts[index : index + 2]
        self._arrays["marginals"][begin:end] = marginals.numpy()
        self._arrays["transitions"][index] = transitions.numpy()
        self._arrays["entropy"][index] = entropy

    def finish(self, about: Mapping[str, Any]) -> None:
        """Adds the untagged sentences and what the folder is, and gives it its name.

        If another process wrote the same folder meanwhile, that one stays.
        """
        for array in self._arrays.values():
            array.flush()
        rows = [{"document": each.document, "words": each.words} for each in self.text]
        lines = "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows)
        (self.part / TEXT).write_text(lines, encoding="utf-8", newline="\n")
        described = {
            "format": FORMAT,
            **about,
            "sentences": len(self.sentences),
            "words": words_digest(self.sentences),
            "text_sentences": len(self.text),
            "text_words": sum(len(each.words) for each in self.text),
        }
        text = json.dumps(described, ensure_ascii=False, indent=1)
        (self.part / ABOUT).write_text(f"{text}\n", encoding="utf-8")
        complete(self.part, self.folder, ABOUT)

    def discard(self) -> None:
        """Removes what was written so far."""
        shutil.rmtree(self.part, ignore_errors=True)
