"""A tagger of another library, with random weights of the usual size: a side of other_taggers.py.

python other_sides.py KIND TEXT, with the Python of that library; KIND is `flair`, `gliner` or `pipeline`.
Its tokenizer is made of the words in TEXT. It answers each line of standard input, [sentences, times, false],
with the seconds of each call.
"""

import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

TYPES = ("PER", "LOC", "ORG", "MISC")
VOCABULARY = 28996  # BERT's, cased
BATCH = 32
Call = Callable[[Sequence[Sequence[str]]], object]


def tokenizer_of(text: Path) -> Any:
    """A WordPiece tokenizer with the frequent words and parts of words of a text."""
    from tokenizers import BertWordPieceTokenizer
    from transformers import PreTrainedTokenizerFast

    pieces = BertWordPieceTokenizer(lowercase=False)
    pieces.train([str(text)], vocab_size=VOCABULARY, show_progress=False)
    named = {f"{name}_token": f"[{name.upper()}]" for name in ("unk", "sep", "cls", "pad", "mask")}
    return PreTrainedTokenizerFast(tokenizer_object=pieces._tokenizer, **named)


def write_bert(text: Path, folder: str) -> Any:
    """BERT-base's shape, in a folder; returns its configuration."""
    from transformers import BertConfig, BertModel

    config = BertConfig(vocab_size=VOCABULARY)
    BertModel(config).save_pretrained(folder)
    tokenizer_of(text).save_pretrained(folder)
    return config


def flair(text: Path, folder: str) -> Call:
    """The SequenceTagger of flair on BERT-base's shape, with a linear layer, as its taggers have."""
    from flair.data import Dictionary, Sentence
    from flair.embeddings import TransformerWordEmbeddings
    from flair.models import SequenceTagger

    write_bert(text, folder)
    tags = Dictionary(add_unk=False)
    for tag in ("O", *(f"{place}-{kind}" for kind in TYPES for place in "SBIE")):
        tags.add_item(tag)
    embeddings = TransformerWordEmbeddings(folder, layers="-1", subtoken_pooling="first", use_context=False)
    plain = {"use_crf": False, "use_rnn": False, "reproject_embeddings": False}
    tagger: Any = SequenceTagger(embeddings, tags, "ner", **plain).eval()
    return lambda sentences: tagger.predict(
        [Sentence(list(words)) for words in sentences], mini_batch_size=BATCH
    )


def gliner(text: Path, folder: str) -> Call:
    """GLiNER's shape in small-v2.1: DeBERTa-v3-small, spans of up to twelve words."""
    from gliner import GLiNER
    from transformers import DebertaV2Config, DebertaV2Model

    config = DebertaV2Config(
        vocab_size=128100, hidden_size=768, num_hidden_layers=6, num_attention_heads=12,
        intermediate_size=3072, max_position_embeddings=512, relative_attention=True, position_buckets=256,
        norm_rel_ebd="layer_norm", share_att_key=True, pos_att_type=["p2c", "c2p"], type_vocab_size=0,
        position_biased_input=False,
    )  # fmt: skip
    DebertaV2Model(config).save_pretrained(folder)
    tokenizer_of(text).save_pretrained(folder)
    made: Any = GLiNER.from_config(
        {
            "model_name": folder,
            "max_width": 12,
            "hidden_size": 512,
            "max_len": 384,
            "words_splitter_type": "whitespace",
        }
    )
    names = ["person", "location", "organization", "miscellaneous"]
    # Random scores lie around a half: few spans pass, as few do in text.
    return lambda sentences: made.inference(
        [" ".join(words) for words in sentences], names, threshold=0.9, batch_size=BATCH
    )


def pipeline(text: Path, folder: str) -> Call:
    """The token-classification pipeline of transformers, on BERT-base's shape."""
    from transformers import BertForTokenClassification, TokenClassificationPipeline

    config = write_bert(text, folder)
    tags = ["O", *(f"{place}-{kind}" for kind in TYPES for place in "BI")]
    config.id2label, config.label2id = dict(enumerate(tags)), {tag: n for n, tag in enumerate(tags)}
    made: Any = TokenClassificationPipeline(
        model=BertForTokenClassification(config).eval(),
        tokenizer=tokenizer_of(text),
        aggregation_strategy="simple",
        device=torch.device("cpu"),
    )
    return lambda sentences: made([" ".join(words) for words in sentences], batch_size=BATCH)


KINDS = {"flair": flair, "gliner": gliner, "pipeline": pipeline}


def main() -> None:
    """Answers until standard input ends."""
    kind, text = sys.argv[1:3]
    torch.manual_seed(0)
    out, sys.stdout = sys.stdout, sys.stderr  # what a library prints is no answer
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        tag = KINDS[kind](Path(text), folder)
        for line in sys.stdin:
            sentences, times, _ = json.loads(line)
            seconds = []
            for _ in range(times):
                began = time.perf_counter()
                tag(sentences)
                seconds.append(time.perf_counter() - began)
            print(json.dumps(seconds), file=out, flush=True)


if __name__ == "__main__":
    main()
