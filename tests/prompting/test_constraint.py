"""Constrained answers: whatever the model prefers, only lines of the right form come out."""

import random
from types import SimpleNamespace

import pytest
import tiny
import torch
from tokenizers import Tokenizer, decoders, models
from transformers import PreTrainedTokenizerFast

from ner_lightning.data.pretrained import locate
from ner_lightning.errors import UserError
from ner_lightning.prompting.constraint import AnswerForm, Vocabulary
from ner_lightning.prompting.generation import PromptedModel
from ner_lightning.prompting.prompt import read_lines

TYPES = ("PER", "PERSON", "LOC")
WORDS = ["Vera", "*", "Holt", "met", "Holt", "in", "10:30", "São", "🦜", "None", "."]


def fallback_tokenizer():
    """Pieces as SentencePiece has them, and all bytes for what is no piece."""
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.:*"
    pieces = [
        "<unk>",
        "<s>",
        "</s>",
        *(f"<0x{byte:02X}>" for byte in range(256)),
        "▁",
        *letters,
        "▁Vera",
        "▁H",
    ]
    tokenizer = Tokenizer(models.BPE({piece: at for at, piece in enumerate(pieces)}, [], byte_fallback=True))
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>", eos_token="</s>"
    )


KINDS = {"llama3": tiny.llama3_tokenizer, "bytes": fallback_tokenizer}


def written(form, choose, most=400):
    """The tokens that one choice after another comes to."""
    tokens = []
    while not form.done and len(tokens) < most:
        tokens.append(choose(form.allowed()))
        form.push(tokens[-1])
    return tokens


@pytest.mark.parametrize("kind", KINDS)
def test_any_choice_among_the_allowed_gives_lines_of_the_sentence(kind):
    tokenizer = KINDS[kind]()
    vocabulary = Vocabulary.of(tokenizer)
    end = tokenizer.eos_token_id
    seen = set()
    for seed in range(150):
        draw = random.Random(seed)
        form = AnswerForm(vocabulary, WORDS, TYPES, [end])
        tokens = written(form, draw.choice)
        assert form.done
        answer = form.answer()
        text = tokenizer.decode(
            [token for token in tokens if token != end], clean_up_tokenization_spaces=False
        )
        assert text.strip(" \n") == answer
        reading = read_lines(answer, WORDS, TYPES)
        assert (reading.unread_lines, reading.absent, reading.failed) == (0, 0, False)
        seen.update((e.type, " ".join(WORDS[e.start : e.end])) for e in reading.entities)
        assert answer == "NONE" or reading.entities
    assert {kind for kind, _ in seen} == set(TYPES)
    for text in ("*", "10:30", "São", "🦜", "None", "Vera *"):  # part of what was found
        assert any(text in found for _, found in seen), text


@pytest.mark.parametrize("kind", KINDS)
def test_every_right_answer_can_be_written(kind):
    """Its tokens in running text are allowed one after the other, and so is the end."""
    tokenizer = KINDS[kind]()
    vocabulary = Vocabulary.of(tokenizer)
    for answer in ("NONE", "PER: Vera * Holt\nLOC: São 🦜", "PERSON: Holt\nLOC: 10:30 São\nPER: ."):
        form = AnswerForm(vocabulary, WORDS, TYPES, [tokenizer.eos_token_id])
        for token in tokenizer(answer.replace(" ", "▁") if kind == "bytes" else answer)["input_ids"]:
            if token != tokenizer.bos_token_id:
                assert token in form.allowed(), answer
                form.push(token)
        assert tokenizer.eos_token_id in form.allowed()
        form.push(tokenizer.eos_token_id)
        assert form.done
        assert form.answer() == answer


def test_words_are_named_once_and_a_blank_line_ends():
    tokenizer = tiny.llama3_tokenizer()
    vocabulary = Vocabulary.of(tokenizer)

    def after(text):
        form = AnswerForm(vocabulary, ["Lima", "or", "Lima"], TYPES, [1])
        for byte in text.encode():
            form.push(vocabulary.ids[bytes([byte])][0])
        return form, {vocabulary.written.get(token, b"END") for token in form.allowed()}

    assert after("PER: Lima")[1] >= {b"END", b"\n", b" "}
    form, allowed = after("PER: Lima\nLOC: ")  # both are taken
    assert b"o" in allowed
    assert not {b"L", b"Li"} & allowed
    form, allowed = after("PER: Lima or Lima\n")  # nothing is left to be named
    assert allowed == {b"END", b"\n"}
    form, _ = after("PER: or\n\n")
    assert form.done
    assert form.answer() == "PER: or"
    assert after("NONE\n")[0].done


def lean_towards_types(prompted, vocabulary):
    """This random model likes to say NONE; it is not to begin so."""
    ids = torch.tensor([i for text in (b"N", b" ", b"NO") for i in vocabulary.ids.get(text, ())])
    prompted.model.lm_head.register_forward_hook(
        lambda _layer, _given, logits: logits.index_fill(-1, ids, -99.0)
    )


def test_answers_of_any_model_have_the_form_in_batches_as_one_by_one(tmp_path):
    prompted = PromptedModel.load(locate(str(tiny.write_language_model(tmp_path / "model"))))
    vocabulary = Vocabulary.of(prompted.tokenizer)
    lean_towards_types(prompted, vocabulary)
    sentences = [words for words, _ in tiny.sentences(tiny.TRAIN)]
    prompts = [prompted.encode([{"role": "user", "content": " ".join(words)}]) for words in sentences]

    def ask(places, size, limit=60):
        forms = [AnswerForm(vocabulary, sentences[place], TYPES, prompted.ends) for place in places]
        options = {"batch_size": size, "limit": limit, "forms": forms}
        parts = prompted.answers([prompts[place] for place in places], **options)
        return {places[a.sentence]: a for part in parts for a in part}

    together = ask(range(len(sentences)), 3)
    assert len({answer.text for answer in together.values()}) > 3
    for place, words in enumerate(sentences):
        answer = together[place]
        alone = ask([place], 1)[place]
        assert (answer.text, answer.ended) == (alone.text, alone.ended)
        reading = read_lines(answer.text, words, TYPES, ended=answer.ended)
        assert (reading.unread_lines, reading.absent) == (0, 0)
        assert not (reading.failed and answer.ended)
    assert not any(answer.ended for answer in ask([0, 1], 2, limit=1).values())


def test_what_cannot_be_constrained_is_said():
    vocabulary = Vocabulary.of(tiny.llama3_tokenizer())
    with pytest.raises(UserError, match="the type 'a:b'"):
        AnswerForm(vocabulary, WORDS, ["a:b"], [1])
    with pytest.raises(UserError, match="neither byte-level nor SentencePiece"):
        Vocabulary.of(tiny.wordpiece_tokenizer())
    with pytest.raises(UserError, match="cannot write NONE"):
        AnswerForm(Vocabulary.of(tiny.sentencepiece_tokenizer()), WORDS, [], [2])
    form = AnswerForm(vocabulary, [], ["PER"], [1])  # nothing to name
    assert written(form, lambda allowed: allowed[-1])
    assert form.answer() == "NONE"


def test_answers_keep_the_space_before_signs():
    """Some tokenizers clean up what they decode, so that it is no text of the sentence any more."""
    tokenizer = tiny.sentencepiece_tokenizer()
    tokenizer.clean_up_tokenization_spaces = True
    config = SimpleNamespace(eos_token_id=2)
    model = SimpleNamespace(config=config, generation_config=None)
    model.eval = lambda: model
    ids = tokenizer("Lima .", add_special_tokens=False)["input_ids"]
    assert tokenizer.decode(ids) == "Lima."
    assert PromptedModel(model, tokenizer)._text(ids) == "Lima ."


def test_bytes_of_a_character_may_be_apart():
    vocabulary = Vocabulary.of(tiny.llama3_tokenizer())
    assert b"\xf0" in vocabulary.ids
    assert torch.tensor([len(text) for text in vocabulary.written.values()]).min() > 0
