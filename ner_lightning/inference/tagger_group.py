"""TaggerGroup: several taggers that hold each backbone once, and whose texts are read in the same batches."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Unpack

import torch

from ner_lightning.data.schemes import LabelSet
from ner_lightning.data.tokenization.encoding import Encoder
from ner_lightning.errors import UserError
from ner_lightning.inference.arguments import checked_texts
from ner_lightning.inference.loading import read_tagger_files
from ner_lightning.inference.mixed_batches import Request, tag_mixed
from ner_lightning.inference.ner_tagger import NERTagger
from ner_lightning.inference.result import Tagged
from ner_lightning.inference.selection import CallOptions, MinScore, Overlaps
from ner_lightning.inference.tagger_files import ADAPTER, CHECKPOINT, TaggerFiles
from ner_lightning.model.build import Target, build_on, load_shared, shared_part
from ner_lightning.model.checkpoint import check_backbone, check_names, saved_names
from ner_lightning.model.devices import as_current, chosen_device, runs_in_bf16
from ner_lightning.model.shared_adapters import AdapterBank
from ner_lightning.model.tagger_settings import TaggerSettings
from ner_lightning.runs.folder import run_path
from ner_lightning.system.terminal import shortlist


@dataclass(eq=False)
class _Shared:
    """A backbone and the taggers that use it.

    Attributes:
        bank: the backbone with the adapters of all of them.
        key: what they have in common.
        users: their names.
        encoders: by what decides how text is encoded.
    """

    bank: AdapterBank
    key: list[Any]
    users: set[str] = field(default_factory=set)
    encoders: dict[str, Encoder] = field(default_factory=dict)


class TaggerGroup(Mapping[str, NERTagger]):
    """Several taggers by name; those of the same frozen backbone hold it once, each with its own adapters.

    `group["name"]` is an ordinary `NERTagger`. `group(texts, "name")` tags texts with one of them, and
    `group.tag([("name", "text"), ...])` with several in the same batches. Adapters are not merged. A tagger
    that cannot share its backbone, since all of it was trained, say, has its own.

    Args:
        runs: run folders, checkpoints or exported folders, by the taggers' names; a sequence names each by
            the last two parts of its path.
        root: the folder of runs.
        device: `cpu`, `cuda`, `cuda:N` or `mps`; None: a CUDA GPU if there is one, else the CPU.
        trust_remote_code: run code that comes with a backbone, or that a run names.
        min_score: as for `NERTagger`, of all taggers.
        overlaps: what becomes of entities that share words.

    Raises:
        UserError: two taggers have the same name, or one cannot be loaded.
    """

    def __init__(
        self,
        runs: Mapping[str, str | Path] | Sequence[str | Path] = (),
        *,
        root: str | Path = "runs",
        device: str | None = None,
        trust_remote_code: bool = False,
        min_score: MinScore = None,
        overlaps: Overlaps = None,
    ) -> None:
        if isinstance(runs, str):
            raise TypeError(f"runs is one name, {runs!r}; give a list, or names and runs in a dict")
        self._root, self._trust = root, trust_remote_code
        self._asked, self._device = device, chosen_device(device)
        self._selected: dict[str, Any] = {"min_score": min_score, "overlaps": overlaps}
        self._taggers: dict[str, NERTagger] = {}
        self._shared: list[_Shared] = []
        pairs = runs.items() if isinstance(runs, Mapping) else ((name_of(run), run) for run in runs)
        for name, run in pairs:
            self.add(run, name)

    def __repr__(self) -> str:
        return f"TaggerGroup({shortlist(self)}; on {self._device})"

    def __getitem__(self, name: str) -> NERTagger:
        return self._taggers[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._taggers)

    def __len__(self) -> int:
        return len(self._taggers)

    def add(self, run: str | Path, name: str | None = None) -> NERTagger:
        """Loads a tagger; its backbone only if no other tagger has it.

        Raises:
            UserError: there is a tagger of that name, or this one cannot be loaded.
        """
        name = name_of(run) if name is None else name
        if name in self._taggers:
            raise UserError(f"two taggers are named {name}; name one otherwise, as in NAME={run}")
        files = read_tagger_files(run, Path(self._root), trust=self._trust)
        settings = TaggerSettings.read(files.settings, trust=self._trust)
        common = shared_part(settings)
        dora = settings.adapters is not None and settings.adapters.dora
        tagger = None
        if not (files.members or files.form not in (CHECKPOINT, ADAPTER) or common is None or dora):
            with torch.random.fork_rng(devices=[]):  # as `TaggerFiles.build`
                tagger = self._on_shared(name, files, settings, [*common, files.bf16])
        if tagger is None:
            tagger = NERTagger.of_files(files, self._asked, **self._selected)
        self._taggers[name] = tagger
        return tagger

    def remove(self, name: str) -> None:
        """Lets a tagger go, and its backbone if no other tagger has it.

        Raises:
            KeyError: there is none of that name.
        """
        del self._taggers[name]
        for shared in [each for each in self._shared if name in each.users]:
            shared.users.remove(name)
            shared.bank.remove(name)
            if not shared.users:
                self._shared.remove(shared)

    def __call__(self, texts: Iterable[str], name: str, **options: Unpack[CallOptions]) -> list[Tagged]:
        """Tags texts with one of the taggers; options as of `NERTagger`.

        Raises:
            TypeError: `texts` is a single text.
        """
        if isinstance(texts, str):  # its letters would be taken for texts
            raise TypeError("expected a list of texts, got one; put it into a list, or use group[name](text)")
        return self.tag([(name, text) for text in checked_texts(texts)], **options)

    def tag(self, items: Iterable[tuple[str, str]], **options: Unpack[CallOptions]) -> list[Tagged]:
        """Tags each text with the tagger that is named beside it, all of them in the same batches.

        Args:
            items: names of taggers, and texts.
            **options: as of `NERTagger`.

        Returns:
            a result for each item.

        Raises:
            KeyError: there is no tagger of a name.
        """
        items = list(items)
        for _ in checked_texts(text for _, text in items):
            pass
        results: dict[int, Tagged] = {}
        for shared in self._shared:
            chosen = [number for number, (name, _) in enumerate(items) if name in shared.users]
            requests = [Request(self[name], text) for name, text in (items[n] for n in chosen)]
            found = tag_mixed(requests, shared.bank, **options)
            results |= dict(zip(chosen, found, strict=True))
        for name in dict.fromkeys(name for name, _ in items):
            own = [n for n, (other, _) in enumerate(items) if other == name and n not in results]
            tagged = self[name]([items[number][1] for number in own], **options) if own else []
            results |= dict(zip(own, tagged, strict=True))
        return [results[number] for number in range(len(items))]

    def _on_shared(
        self, name: str, files: TaggerFiles, settings: TaggerSettings, key: list[Any]
    ) -> NERTagger | None:
        """Builds a tagger on the backbone that others with the same key have, or on a new one.

        Returns:
            None if its adapters are on other layers than can be shared.
        """
        shared = next((each for each in self._shared if each.key == key), None)
        if shared is None:
            kind = torch.device(self._device).type
            with as_current(self._device):
                bf16 = runs_in_bf16(files.bf16, kind)
                target = Target(bf16=bf16, device_type=kind)
                backbone = load_shared(files.pretrained, settings, target).to(self._device)
            backbone.bf16 = False  # its weights have the type of products: nothing is left for autocast
            shared = _Shared(AdapterBank(backbone, bf16=bf16), key)
        if not shared.bank.takes(files.state):
            return None
        prepared = settings.architecture.prepare
        identity = shared.bank.backbone.identity + ("" if prepared is None else f" {prepared!r}")
        check_backbone(files.origin, settings.backbone, identity)
        tagger = build_on(shared.bank, settings, LabelSet(files.types), name)
        own = {key: value for key, value in files.state.items() if ".lora_" not in key}
        check_names(own, saved_names(tagger))
        tagger.load_state_dict(own, strict=False)
        how = f"{files.pretrained} {files.encoding}"
        if how not in shared.encoders:
            shared.encoders[how] = files.encoder()
        made = NERTagger(tagger.to(self._device).eval(), shared.encoders[how], **self._selected)
        made.temperature = files.temperature
        if settings.adapters is not None:
            shared.bank.add(name, files.state, settings.adapters)
        shared.users.add(name)
        if shared not in self._shared:
            self._shared.append(shared)
        return made


def name_of(run: str | Path) -> str:
    """A tagger's name by default: the last two parts of its path."""
    return "/".join(run_path(run, Path()).resolve().parts[-2:])
