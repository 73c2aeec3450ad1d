"""TaggerGroup: several taggers that hold each backbone once, and whose texts are read in the same batches."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Unpack

import torch

from ner_lightning.data.pretrained import Pretrained
from ner_lightning.data.schemes import LabelSet
from ner_lightning.data.tokenization.encoding import Encoder
from ner_lightning.errors import UserError
from ner_lightning.inference.loading import ADAPTER, CHECKPOINT, TaggerFiles, find
from ner_lightning.inference.mixed_batches import Request, tag_mixed
from ner_lightning.inference.ner_tagger import NERTagger
from ner_lightning.inference.result import Tagged
from ner_lightning.inference.selection import CallOptions, MinScore, Overlaps
from ner_lightning.model.backbone import Backbone
from ner_lightning.model.build import Target, build_on, load_shared, shared_part
from ner_lightning.model.checkpoint import check_backbone, check_names, saved_names
from ner_lightning.model.devices import chosen_device
from ner_lightning.model.tagger_settings import TaggerSettings


@dataclass(eq=False)
class _Shared:
    """A backbone and the taggers that use it.

    Attributes:
        backbone: with the adapters of all of them.
        key: what they have in common.
        users: their names, with PEFT's names of their adapters; None for a tagger without.
        encoders: by what decides how text is encoded.
    """

    backbone: Backbone
    key: list[Any]
    users: dict[str, str | None] = field(default_factory=dict)
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
        runs: Mapping[str, str] | Sequence[str] = (),
        *,
        root: str = "runs",
        device: str | None = None,
        trust_remote_code: bool = False,
        min_score: MinScore = None,
        overlaps: Overlaps = None,
    ) -> None:
        self._root, self._device, self._trust = root, chosen_device(device), trust_remote_code
        self._selected: dict[str, Any] = {"min_score": min_score, "overlaps": overlaps}
        self._taggers: dict[str, NERTagger] = {}
        self._shared: list[_Shared] = []
        self._count = 0  # of adapters so far, for their names
        pairs = runs.items() if isinstance(runs, Mapping) else ((name_of(run), run) for run in runs)
        for name, run in pairs:
            self.add(run, name)

    def __getitem__(self, name: str) -> NERTagger:
        return self._taggers[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._taggers)

    def __len__(self) -> int:
        return len(self._taggers)

    def add(self, run: str, name: str | None = None) -> NERTagger:
        """Loads a tagger; its backbone only if no other tagger has it.

        Raises:
            UserError: there is a tagger of that name, or this one cannot be loaded.
        """
        name = name_of(run) if name is None else name
        if name in self._taggers:
            raise UserError(f"two taggers are named {name}; name one otherwise, as in NAME={run}")
        files = find(run, Path(self._root), trust=self._trust)
        settings = TaggerSettings.read(files.settings, trust=self._trust)
        common = shared_part(settings)
        if files.members or files.form not in (CHECKPOINT, ADAPTER) or common is None:
            tagger = NERTagger.from_run(
                run,
                root=self._root,
                device=self._device,
                trust_remote_code=self._trust,
                **self._selected,
            )
        else:
            tagger = self._on_shared(name, files, settings, [*common, files.bf16])
        self._taggers[name] = tagger
        return tagger

    def remove(self, name: str) -> None:
        """Lets a tagger go, and its backbone if no other tagger has it.

        Raises:
            KeyError: there is none of that name.
        """
        del self._taggers[name]
        for shared in [each for each in self._shared if name in each.users]:
            adapter = shared.users.pop(name)
            if not shared.users:
                self._shared.remove(shared)
            elif adapter is not None:
                model: Any = shared.backbone.model
                model.set_adapter(next(other for other in shared.users.values() if other is not None))
                model.delete_adapter(adapter)

    def __call__(self, texts: Sequence[str], name: str, **options: Unpack[CallOptions]) -> list[Tagged]:
        """Tags texts with one of the taggers; options as of `NERTagger`."""
        return self.tag([(name, text) for text in texts], **options)

    def tag(self, items: Sequence[tuple[str, str]], **options: Unpack[CallOptions]) -> list[Tagged]:
        """Tags each text with the tagger that is named beside it, all of them in the same batches.

        Args:
            items: names of taggers, and texts.
            **options: as of `NERTagger`.

        Returns:
            a result for each item.

        Raises:
            KeyError: there is no tagger of a name.
        """
        results: dict[int, Tagged] = {}
        for shared in self._shared:
            chosen = [number for number, (name, _) in enumerate(items) if name in shared.users]
            requests = [
                Request(self[name], text, shared.users[name]) for name, text in (items[n] for n in chosen)
            ]
            found = tag_mixed(requests, shared.backbone, **options)
            results |= dict(zip(chosen, found, strict=True))
        for name in dict.fromkeys(name for name, _ in items):
            own = [n for n, (other, _) in enumerate(items) if other == name and n not in results]
            tagged = self[name]([items[number][1] for number in own], **options) if own else []
            results |= dict(zip(own, tagged, strict=True))
        return [results[number] for number in range(len(items))]

    def _on_shared(
        self, name: str, files: TaggerFiles, settings: TaggerSettings, key: list[Any]
    ) -> NERTagger:
        """Builds a tagger on the backbone that others with the same key have, or on a new one."""
        shared = next((each for each in self._shared if each.key == key), None)
        if shared is None:
            target = Target(bf16=files.bf16, device_type=torch.device(self._device).type)
            backbone = load_shared(files.pretrained, settings, target)
            shared = _Shared(backbone.to(self._device), key)
        prepared = settings.architecture.prepare
        identity = shared.backbone.identity + ("" if prepared is None else f" {prepared!r}")
        check_backbone(files.origin, settings.backbone, identity)
        adapter = f"tagger{self._count}"
        self._count += 1
        bf16 = files.bf16
        tagger = build_on(shared.backbone, settings, LabelSet(files.types), adapter)
        state = {_renamed(key, adapter): value for key, value in files.state.items()}
        check_names(state, {each for each in saved_names(tagger) if _is_of(each, adapter)})
        tagger.load_state_dict(state, strict=False)
        _run_in_bf16(shared.backbone, bf16)
        tagger.to(self._device)
        encoder = shared.encoders.setdefault(_encoding_key(files), files.encoder())
        made = NERTagger(tagger, encoder, **self._selected)
        made.temperature = files.temperature
        shared.users[name] = adapter if settings.adapters is not None else None
        if shared not in self._shared:
            self._shared.append(shared)
        return made


def name_of(run: str) -> str:
    """A tagger's name by default: the last two parts of its path."""
    return "/".join(Path(run).expanduser().resolve().parts[-2:])


def _encoding_key(files: TaggerFiles) -> str:
    pretrained: Pretrained = files.pretrained
    return f"{pretrained} {files.encoding}"


def _renamed(name: str, adapter: str) -> str:
    """The name in the group of a parameter of a tagger that was alone."""
    if ".lora_" not in name:
        return name
    return ".".join(adapter if part == "default" else part for part in name.split("."))


def _is_of(name: str, adapter: str) -> bool:
    return ".lora_" not in name or adapter in name.split(".")


def _run_in_bf16(backbone: Backbone, bf16: bool) -> None:
    """Rounds adapters to bf16, so that nothing is left for autocast to do, where they ran in bf16."""
    if not bf16:
        return
    for parameter in backbone.parameters():
        if parameter.is_floating_point():
            parameter.data = parameter.data.to(torch.bfloat16)
    backbone.bf16 = False
