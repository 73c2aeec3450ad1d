"""Batches with a shared beginning give what transformers' own generation gives one by one."""

import re

import pytest
import tiny
import torch

from ner_lightning.data.pretrained import locate
from ner_lightning.errors import UserError
from ner_lightning.prompting.generation import PromptedModel


@pytest.mark.parametrize("kind", ["llama", "gemma3"])
@pytest.mark.parametrize("shared", [True, False])
def test_batched_answers_are_those_of_generate(tmp_path, kind, shared):
    prompted = PromptedModel.load(locate(str(tiny.write_language_model(tmp_path / "model", kind))))
    begin = list(range(30, 55)) if shared else []
    generator = torch.Generator().manual_seed(3)
    draw = lambda n: torch.randint(2, 420, (n,), generator=generator).tolist()  # noqa: E731
    prompts = [[*begin, 2 + place, *draw(3 + 4 * place % 11)] for place in range(7)]
    found = {a.sentence: a for part in prompted.answers(prompts, batch_size=3, limit=24) for a in part}
    assert sorted(found) == list(range(7))
    ends = set()
    for place, ids in enumerate(prompts):
        tokens = torch.tensor([ids])
        options = {"do_sample": False, "max_new_tokens": 24, "pad_token_id": 1, "eos_token_id": prompted.ends}
        whole = prompted.model.generate(tokens, attention_mask=torch.ones_like(tokens), **options)
        expected = whole[0, len(ids) :].tolist()
        ended = bool(set(expected) & set(prompted.ends))
        text = prompted.tokenizer.decode(expected, skip_special_tokens=True)
        assert (found[place].text, found[place].ended) == (text, ended), place
        ends.add(ended)
    assert len({answer.text for answer in found.values()}) > 3


@pytest.mark.parametrize("templated", [True, False])
def test_without_a_chat_template_a_row_ends_at_its_first_blank_line_after_text(tmp_path, templated):
    prompted = PromptedModel.load(locate(str(tiny.write_language_model(tmp_path / "model"))))
    prompted.tokenizer.chat_template = prompted.tokenizer.chat_template if templated else None
    (line_break,) = prompted.tokenizer("\n", add_special_tokens=False)["input_ids"]
    head = prompted.model.lm_head.weight
    head.data[line_break] *= 4  # many lines
    generator = torch.Generator().manual_seed(3)
    prompts = [[*range(30, 40), *torch.randint(2, 420, (5,), generator=generator).tolist()] for _ in range(9)]
    found = {a.sentence: a for part in prompted.answers(prompts, batch_size=4, limit=24) for a in part}
    blank_lines = 0
    for place, ids in enumerate(prompts):
        tokens = torch.tensor([ids])
        options = {"do_sample": False, "max_new_tokens": 24, "pad_token_id": 1, "eos_token_id": prompted.ends}
        whole = prompted.model.generate(tokens, attention_mask=torch.ones_like(tokens), **options)
        written = whole[0, len(ids) :].tolist()
        text = prompted.tokenizer.decode(written, skip_special_tokens=True)
        blank = re.match(r"\s*\S.*?\n\s*?\n", text, re.DOTALL)
        blank_lines += blank is not None
        if blank is None or templated:
            expected = (text, bool(set(written) & set(prompted.ends)))
        else:
            expected = (blank[0], True)
        assert (found[place].text, found[place].ended) == expected, place
    assert 0 < blank_lines < len(prompts)


def test_conversations_follow_the_template_or_plain_text(tmp_path):
    prompted = PromptedModel.load(locate(str(tiny.write_language_model(tmp_path / "model"))))
    turns = [{"role": "user", "content": "Vera left ."}]
    assert prompted.has_template
    assert (
        prompted.tokenizer.decode(prompted.encode(turns)) == "<|user|>Vera left .<|end_of_text|><|assistant|>"
    )
    # The template of a reasoning model opens its thoughts unless it is told not to.
    thinking = "{{ '<|user|>' }}{% if enable_thinking is not defined or enable_thinking %}<think>{% endif %}"
    prompted.tokenizer.chat_template = thinking
    assert prompted.tokenizer.decode(prompted.encode(turns)) == "<|user|>"
    prompted.tokenizer.chat_template = None
    ids = prompted.encode(turns)
    assert ids[0] == prompted.tokenizer.bos_token_id
    assert prompted.tokenizer.decode(ids[1:]) == "Vera left .\nEntities:\n"


def test_what_cannot_write_cannot_be_prompted(bert, llama):
    with pytest.raises(UserError, match="is an encoder"):
        PromptedModel.load(locate(str(bert)))
    with pytest.raises(UserError, match="without its language-model head"):
        PromptedModel.load(locate(str(llama)))
