"""A language model that answers prompts greedily, in batches; their shared prefix is computed once."""

import copy
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ner_lightning.data.pretrained import Pretrained
from ner_lightning.data.tokenization.encoding import load_tokenizer
from ner_lightning.errors import UserError
from ner_lightning.model.devices import runs_in_bf16
from ner_lightning.model.masks import has_windows
from ner_lightning.model.quiet_transformers import quiet_transformers
from ner_lightning.model.weights import load_language_model
from ner_lightning.prompting.constraint import AnswerForm
from ner_lightning.prompting.prompt import Message, plain_answer, untemplated


class GeneratedAnswer(NamedTuple):
    """An answer of the model.

    Attributes:
        sentence: index of the sentence, or prompt, that it answers.
        text: without special tokens.
        ended: whether the model ended it, rather than the token limit: with an end token, or with a blank
            line where there is no chat template.
    """

    sentence: int
    text: str
    ended: bool


class PromptedModel:
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
    @quiet_transformers
    def load(
        cls,
        pretrained: Pretrained,
        *,
        bf16: bool = False,
        device: str = "cpu",
        trust_remote_code: bool = False,
    ) -> "PromptedModel":
        """Loads a backbone with its language-model head.

        Raises:
            UserError: it is an encoder, reads bidirectionally, or its files have no language-model head.
        """
        tokenizer = load_tokenizer(pretrained, trust_remote_code=trust_remote_code)
        model = load_language_model(
            pretrained,
            dtype=torch.bfloat16 if runs_in_bf16(bf16, torch.device(device).type) else torch.float32,
            purpose="be prompted",
            trust_remote_code=trust_remote_code,
        )
        if getattr(model.config, "is_causal", True) is False:
            raise UserError(
                f"model.backbone: {pretrained.label} attends bidirectionally, so it cannot be prompted"
            )
        return cls(model.to(device), tokenizer)

    @property
    def device(self) -> torch.device:
        """Where it runs."""
        device: torch.device = self.model.device
        return device

    @property
    def has_template(self) -> bool:
        """Whether the tokenizer has a chat template."""
        return bool(getattr(self.tokenizer, "chat_template", None))

    def encode(self, turns: Sequence[Message]) -> list[int]:
        """A conversation as token ids, up to the beginning of the answer."""
        if self.has_template:
            # Thoughts would use up the answer's tokens; templates that know no thinking ignore the option.
            options = {"tokenize": False, "add_generation_prompt": True, "enable_thinking": False}
            text = self.tokenizer.apply_chat_template(list(turns), **options)
            ids: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
            return ids
        ids = self.tokenizer(untemplated(turns))["input_ids"]
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
        """Answers prompts, those of similar length together.

        Args:
            prompts: token ids of each.
            batch_size: prompts that are answered together.
            limit: the most tokens of an answer.
            forms: the form that each answer must have; None for no constraint.

        Yields:
            the answers of a batch.
        """
        # Padding comes after the shared prefix, where it would fill up a sliding window.
        shared = 0 if has_windows(self.model.config.get_text_config()) else _common(prompts)
        past = self._read(prompts[0][:shared]) if shared else None
        order = sorted(range(len(prompts)), key=lambda index: -len(prompts[index]))
        for begin in range(0, len(order), batch_size):
            indices = order[begin : begin + batch_size]
            rows = [prompts[index][shared:] for index in indices]
            row_forms = None if forms is None else [forms[index] for index in indices]
            answers = self._greedy(past, shared, rows, limit, row_forms)
            if row_forms is None:
                texts = [self._text(ids) for ids, _ in answers]
            else:
                texts = [form.answer() for form in row_forms]
            yield [
                GeneratedAnswer(index, text, ended)
                for index, text, (_, ended) in zip(indices, texts, answers, strict=True)
            ]

    def _text(self, ids: Sequence[int]) -> str:
        # With clean-up "Lima ." would become "Lima.", which is not in the sentence.
        options = {"skip_special_tokens": True, "clean_up_tokenization_spaces": False}
        text: str = self.tokenizer.decode(ids, **options)
        return text

    @torch.inference_mode()
    def _read(self, ids: Sequence[int]) -> Any:
        """Keys and values of the shared prefix."""
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
        """Greedy decoding; rows that have ended leave the batch.

        Args:
            past: keys and values of the shared prefix, None if there is none.
            shared: its length, P.
            rows: the rest of each of B prompts.
            limit: the most tokens of an answer.
            forms: the form of each row's answer.

        Returns:
            for each row its tokens without the end token, and whether it has ended.
        """
        ids, real = self._padded(rows)  # (B, T)
        mask = torch.cat([real.new_ones(len(rows), shared), real], dim=1)  # (B, P + T)
        positions = (mask.cumsum(1) - 1).clamp(min=0)[:, shared:]  # (B, T)
        cache = copy.deepcopy(past)
        if cache is not None:
            cache.batch_repeat_interleave(len(rows))
        written: list[list[int]] = [[] for _ in rows]
        ended = [False] * len(rows)
        active = list(range(len(rows)))
        for _ in range(limit):
            inputs = {"input_ids": ids, "attention_mask": mask, "position_ids": positions}
            output = self.model(**inputs, past_key_values=cache, use_cache=True, logits_to_keep=1)
            cache = output.past_key_values
            allowed = None if forms is None else [forms[row] for row in active]
            ids = _best(output.logits[:, -1], allowed)  # (B, 1)
            for row, token in zip(active, ids[:, 0].tolist(), strict=True):
                ended[row] = self._write(token, written[row], None if forms is None else forms[row])
            going = [index for index, row in enumerate(active) if not ended[row]]
            if not going:
                break
            if len(going) < len(active):
                selected = torch.tensor(going, device=ids.device)
                cache.batch_select_indices(selected)
                ids, mask, positions = ids[selected], mask[selected], positions[selected]
                active = [active[index] for index in going]
            mask = torch.cat([mask, mask.new_ones(len(active), 1)], dim=1)
            positions = positions[:, -1:] + 1
        return list(zip(written, ended, strict=True))

    def _padded(self, rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
        """Token ids with padding on the left, between the shared prefix and each row; and their mask."""
        width = max(map(len, rows))
        ids = torch.full((len(rows), width), self.pad, device=self.model.device)
        mask = torch.zeros_like(ids)
        for row, tokens in enumerate(rows):
            ids[row, width - len(tokens) :] = torch.tensor(tokens, device=ids.device)
            mask[row, width - len(tokens) :] = 1
        return ids, mask

    def _write(self, token: int, written: list[int], form: AnswerForm | None) -> bool:
        """Adds a token to a row's answer; whether the answer has ended."""
        if token not in self.ends:
            written.append(token)
        if form is None:
            return token in self.ends or (not self.has_template and plain_answer(self._text(written))[1])
        form.push(token)
        return form.done


def _best(logits: Tensor, forms: Sequence[AnswerForm] | None) -> Tensor:
    """The most probable token of each row that its form allows; (B, C) logits to (B, 1) tokens."""
    if forms is None:
        return logits.argmax(-1, keepdim=True)
    masked = torch.full_like(logits, -torch.inf)
    for row, form in enumerate(forms):
        allowed = torch.tensor(form.allowed(), device=logits.device)
        masked[row, allowed] = logits[row, allowed]
    return masked.argmax(-1, keepdim=True)


def _common(prompts: Sequence[Sequence[int]]) -> int:
    """The length of the shared prefix; each prompt keeps at least one token of its own."""
    rows = [list(prompt) for prompt in prompts]
    first, last = min(rows), max(rows)  # a prefix of these two is a prefix of all in between
    most = min(map(len, rows)) - 1
    same = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), most)
    return min(same, most)


def _listed(given: Any) -> list[int]:
    return [] if given is None else list(given) if isinstance(given, list | tuple) else [int(given)]
