"""A language model that answers prompts: greedy, in batches, what all prompts begin with is read once."""

import copy
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ner_lightning.data.pretrained import Pretrained
from ner_lightning.data.tokenization.encoding import load_tokenizer
from ner_lightning.errors import UserError
from ner_lightning.model.build import quiet_loading
from ner_lightning.model.masks import has_windows
from ner_lightning.model.weights import load_language_model
from ner_lightning.prompting.constraint import AnswerForm
from ner_lightning.prompting.prompt import Message, plain


class GeneratedAnswer(NamedTuple):
    """What the model wrote.

    Attributes:
        place: which prompt it answers.
        text: without special tokens.
        ended: whether the model came to an end, and not to the limit.
    """

    place: int
    text: str
    ended: bool


class Prompted:
    """A causal language model and its tokenizer.

    Args:
        model: a transformers model with a language-model head.
        tokenizer: its tokenizer.
    """

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self.model = model.eval()
        self.tokenizer = tokenizer
        ends = {tokenizer.eos_token_id, *_listed(model.config.eos_token_id)}
        ends |= set(_listed(getattr(model.generation_config, "eos_token_id", None)))
        self.ends = sorted(ends - {None})
        pad = (tokenizer.pad_token_id, *self.ends, 0)
        self.pad = next(token for token in pad if token is not None)  # masked, so any will do

    @classmethod
    def load(
        cls,
        pretrained: Pretrained,
        *,
        bf16: bool = False,
        device: str = "cpu",
        trust_remote_code: bool = False,
    ) -> "Prompted":
        """Loads a backbone with its language-model head.

        Raises:
            UserError: it is an encoder, has become like one, or its files hold no language-model head.
        """
        quiet_loading()
        tokenizer = load_tokenizer(pretrained, trust_remote_code=trust_remote_code)
        model = load_language_model(
            pretrained,
            dtype=torch.bfloat16 if bf16 else torch.float32,
            purpose="be prompted",
            trust_remote_code=trust_remote_code,
        )
        if getattr(model.config, "is_causal", True) is False:
            raise UserError(
                f"model.backbone: {pretrained.label} has learned to read both ways, so it cannot be prompted"
            )
        return cls(model.to(device), tokenizer)

    @property
    def has_template(self) -> bool:
        """Whether the tokenizer says how a conversation is written."""
        return bool(getattr(self.tokenizer, "chat_template", None))

    def encode(self, turns: Sequence[Message]) -> list[int]:
        """A conversation as token ids, up to where the answer begins."""
        if self.has_template:
            options = {"tokenize": False, "add_generation_prompt": True}
            text = self.tokenizer.apply_chat_template(list(turns), **options)
            ids: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
            return ids
        ids = self.tokenizer(plain(turns))["input_ids"]
        begin = self.tokenizer.bos_token_id
        return ids if begin is None or ids[:1] == [begin] else [begin, *ids]

    def answers(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        batch_size: int,
        limit: int,
        forms: Sequence[AnswerForm] | None = None,
    ) -> Iterator[list[GeneratedAnswer]]:
        """Answers prompts, those of like length together.

        Args:
            prompts: token ids of each.
            batch_size: prompts that are answered together.
            limit: the most tokens of an answer.
            forms: the form that each answer must have; None leaves the model free.

        Yields:
            the answers of a batch.
        """
        # Padding stands after the beginning, where it would use up the reach of a sliding window.
        shared = 0 if has_windows(self.model.config.get_text_config()) else _common(prompts)
        past = self._read(prompts[0][:shared]) if shared else None
        order = sorted(range(len(prompts)), key=lambda place: -len(prompts[place]))
        for begin in range(0, len(order), batch_size):
            places = order[begin : begin + batch_size]
            held = None if forms is None else [forms[place] for place in places]
            found = self._greedy(past, shared, [prompts[place][shared:] for place in places], limit, held)
            texts = (
                [self._text(ids) for ids, _ in found] if held is None else [form.answer() for form in held]
            )
            yield [
                GeneratedAnswer(place, text, ended)
                for place, text, (_, ended) in zip(places, texts, found, strict=True)
            ]

    def _text(self, ids: Sequence[int]) -> str:
        # Cleaned up, "Lima ." would be "Lima.", and no words of the sentence any more.
        options = {"skip_special_tokens": True, "clean_up_tokenization_spaces": False}
        text: str = self.tokenizer.decode(ids, **options)
        return text

    @torch.inference_mode()
    def _read(self, ids: Sequence[int]) -> Any:
        """Keys and values of what all prompts begin with."""
        tokens = torch.tensor([list(ids)], device=self.model.device)
        return self.model(input_ids=tokens, use_cache=True, logits_to_keep=1).past_key_values

    @torch.inference_mode()
    def _greedy(
        self,
        past: Any,
        shared: int,
        rows: Sequence[Sequence[int]],
        limit: int,
        forms: Sequence[AnswerForm] | None,
    ) -> list[tuple[list[int], bool]]:
        """The most probable token again and again; rows that came to an end are taken out.

        Args:
            past: keys and values of the shared beginning, None if there is none.
            shared: its length, P.
            rows: what follows it in each of B prompts.
            limit: the most tokens of an answer.
            forms: the form of each row's answer.

        Returns:
            for each row its tokens without the end, and whether it came to one.
        """
        device = self.model.device
        width = max(map(len, rows))
        ids = torch.full((len(rows), width), self.pad, device=device)
        real = torch.zeros(len(rows), width, dtype=torch.long, device=device)
        for row, tokens in enumerate(rows):  # padding stands between beginning and sentence
            ids[row, width - len(tokens) :] = torch.tensor(tokens, device=device)
            real[row, width - len(tokens) :] = 1
        mask = torch.cat([real.new_ones(len(rows), shared), real], dim=1)  # (B, P + T)
        places = (mask.cumsum(1) - 1).clamp(min=0)[:, shared:]  # (B, T)
        cache = copy.deepcopy(past)
        if cache is not None:
            cache.batch_repeat_interleave(len(rows))
        written: list[list[int]] = [[] for _ in rows]
        ended = [False] * len(rows)
        left = list(range(len(rows)))
        for _ in range(limit):
            output = self.model(
                input_ids=ids,
                attention_mask=mask,
                position_ids=places,
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
            )
            cache = output.past_key_values
            allowed = None if forms is None else [forms[row] for row in left]
            ids = _best(output.logits[:, -1], allowed)  # (B, 1)
            going: list[int] = []
            for at, (row, token) in enumerate(zip(left, ids[:, 0].tolist(), strict=True)):
                ended[row] = token in self.ends
                if not ended[row]:
                    written[row].append(token)
                if forms is not None:
                    forms[row].push(token)
                    ended[row] = forms[row].done
                if not ended[row]:
                    going.append(at)
            if not going:
                break
            if len(going) < len(left):
                kept: Tensor = torch.tensor(going, device=device)
                cache.batch_select_indices(kept)
                ids, mask, places = ids[kept], mask[kept], places[kept]
                left = [left[at] for at in going]
            mask = torch.cat([mask, mask.new_ones(len(left), 1)], dim=1)
            places = places[:, -1:] + 1
        return list(zip(written, ended, strict=True))


def _best(logits: Tensor, forms: Sequence[AnswerForm] | None) -> Tensor:
    """The most probable token of each row that its form allows; of (B, C) logits, (B, 1) tokens."""
    if forms is None:
        return logits.argmax(-1, keepdim=True)
    barred = torch.full_like(logits, -torch.inf)
    for row, form in enumerate(forms):
        allowed = torch.tensor(form.allowed(), device=logits.device)
        barred[row, allowed] = logits[row, allowed]
    return barred.argmax(-1, keepdim=True)


def _common(prompts: Sequence[Sequence[int]]) -> int:
    """How many tokens all prompts begin with; each keeps one of its own at least."""
    rows = [list(prompt) for prompt in prompts]
    first, last = min(rows), max(rows)  # what these two share, all in between share as well
    most = min(map(len, rows)) - 1
    same = next((at for at, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), most)
    return min(same, most)


def _listed(given: Any) -> list[int]:
    return [] if given is None else list(given) if isinstance(given, list | tuple) else [int(given)]
