"""Small models, tokenizers and corpora that tests are made of; all text is invented."""

from pathlib import Path

import huggingface_hub
import torch
import transformers
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import BertConfig, BertModel, LlamaConfig, LlamaModel, PreTrainedTokenizerFast

# Models that tests write are none of a command's output; downloads are.
transformers.utils.logging.disable_progress_bar()
huggingface_hub.utils.enable_progress_bars()
SPLITTER = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
TRAIN = """\
Vera/B-PER Lindqvist/I-PER joined/O Halden/B-ORG Bank/I-ORG in/O Trondheim/B-LOC ./O
The/O Danish/B-MISC team/O flew/O to/O Lima/B-LOC on/O 3/O May/O 1997/O ./O
Okoro/B-PER beat/O Maria/B-PER Holt/I-PER 6-4/O at/O the/O Baltic/B-MISC Open/I-MISC ./O
Shares/O of/O Tollan/B-ORG Inc/I-ORG fell/O 12/O percent/O ./O
Nobody/O in/O Oslo/B-LOC had/O heard/O of/O it/O ./O
She/O did/O n't/O answer/O ,/O said/O Ilse/B-PER Brandt/I-PER 's/O lawyer/O ./O
Lima/B-ORG 2/O Trondheim/B-ORG 1/O
The/O strike/O ended/O ./O
"""
TEST = """\
Vera/B-PER Holt/I-PER left/O Tollan/B-ORG Inc/I-ORG ./O
The/O Baltic/B-MISC Open/I-MISC ended/O in/O Lima/B-LOC ./O
Nobody/O answered/O ./O
"""


def sentences(text):
    """Pairs of words and tags."""
    rows = [[cell.rsplit("/", 1) for cell in line.split()] for line in text.splitlines()]
    return [([word for word, _ in row], [tag for _, tag in row]) for row in rows]


def write_corpus(folder: Path, repeat: int = 4) -> Path:
    """train.txt, valid.txt and test.txt in CoNLL columns; the training text is repeated."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in (("train", TRAIN * repeat), ("valid", TRAIN[:200].rsplit("\n", 1)[0]), ("test", TEST)):
        blocks = ("\n".join(f"{w} {t}" for w, t in zip(*pair, strict=True)) for pair in sentences(text))
        (folder / f"{name}.txt").write_text("\n\n".join(blocks) + "\n", encoding="utf-8")
    return folder


def words_text() -> list[str]:
    return [" ".join(words) for words, _ in sentences(TRAIN + TEST)]


def wrap(tokenizer: Tokenizer, **special: str) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special)


def llama3_tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE behind Llama 3's splitting pattern, with BOS and without a padding token."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLITTER), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=420,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=["<|begin_of_text|>", "<|end_of_text|>"],
        show_progress=False,
    )
    tokenizer.train_from_iterator(words_text(), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<|begin_of_text|> $A", special_tokens=[("<|begin_of_text|>", 0)]
    )
    return wrap(tokenizer, bos_token="<|begin_of_text|>", eos_token="<|end_of_text|>")


def sentencepiece_tokenizer() -> PreTrainedTokenizerFast:
    """Unigram pieces with ▁ for the space, as SentencePiece models have them."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=200, special_tokens=["<unk>", "<s>", "</s>"], unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator(words_text(), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    return wrap(tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


def llama2_tokenizer() -> PreTrainedTokenizerFast:
    """BPE whose spaces are turned into ▁ by the normaliser, with no pre-tokenisation at all."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Replace("▁", " ")
    # Trained on single words, as SentencePiece is: its pieces do not cross spaces.
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=["<unk>", "<s>", "</s>"], show_progress=False
    )
    tokenizer.train_from_iterator([word for text in words_text() for word in text.split()], trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return wrap(tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


def wordpiece_tokenizer() -> PreTrainedTokenizerFast:
    """BERT's: lower-cased WordPiece between [CLS] and [SEP]."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(
        vocab_size=220, special_tokens=["[UNK]", "[CLS]", "[SEP]", "[PAD]"], show_progress=False
    )
    tokenizer.train_from_iterator(words_text(), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    return wrap(tokenizer, cls_token="[CLS]", sep_token="[SEP]", unk_token="[UNK]", pad_token="[PAD]")


TOKENIZERS = {
    "llama3": llama3_tokenizer,
    "llama2": llama2_tokenizer,
    "sentencepiece": sentencepiece_tokenizer,
    "wordpiece": wordpiece_tokenizer,
}


def llama_config(**changes: object) -> LlamaConfig:
    """Llama-3.2's configuration in small: its RoPE scaling, grouped queries, no biases."""
    settings: dict[str, object] = {
        "vocab_size": 420,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 131072,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "rope_parameters": {
            "rope_type": "llama3",
            "rope_theta": 500000.0,
            "factor": 32.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 8192,
        },
        "initializer_range": 0.2,  # large enough for two layers to say something
    }
    return LlamaConfig(**(settings | changes))


def write_llama(folder: Path, **changes: object) -> Path:
    """A two-layer random Llama and its tokenizer, as a folder that `from_pretrained` reads."""
    torch.manual_seed(0)
    LlamaModel(llama_config(**changes)).save_pretrained(folder)
    llama3_tokenizer().save_pretrained(folder)
    return folder


def write_bert(folder: Path) -> Path:
    """A two-layer random BERT and its tokenizer."""
    torch.manual_seed(0)
    config = BertConfig(vocab_size=220, pad_token_id=3, **SMALL)
    BertModel(config).save_pretrained(folder)
    wordpiece_tokenizer().save_pretrained(folder)
    return folder


SMALL = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "initializer_range": 0.2,
}
GROUPED = SMALL | {"num_key_value_heads": 2, "head_dim": 8}


def write_backbone(folder: Path, kind: str) -> Path:
    """A two-layer random model of a family, with a tokenizer of the sort that it has."""
    if kind == "llama":
        return write_llama(folder)
    if kind == "bert":
        return write_bert(folder)
    bpe, pieces = llama3_tokenizer, sentencepiece_tokenizer
    mixed = {"sliding_window": 8, "layer_types": ["sliding_attention", "full_attention"]}
    config, tokenizer = {
        "qwen3": lambda: (transformers.Qwen3Config(vocab_size=420, **GROUPED), bpe()),
        "gemma2": lambda: (transformers.Gemma2Config(vocab_size=200, sliding_window=8, **GROUPED), pieces()),
        "gemma3": lambda: (transformers.Gemma3TextConfig(vocab_size=200, **GROUPED, **mixed), pieces()),
        "mistral": lambda: (transformers.MistralConfig(vocab_size=300, **GROUPED), llama2_tokenizer()),
        "gpt_neox": lambda: (transformers.GPTNeoXConfig(vocab_size=420, **SMALL), bpe()),
        "roberta": lambda: (transformers.RobertaConfig(vocab_size=420, **SMALL), bpe()),
        "modernbert": lambda: (modernbert_config(), bpe()),
    }[kind]()
    torch.manual_seed(0)
    transformers.AutoModel.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def modernbert_config() -> transformers.ModernBertConfig:
    """Its second layer sees a few words around each word only."""
    sizes = SMALL | {"initializer_cutoff_factor": 2.0}
    special = {"pad_token_id": 1, "cls_token_id": 0, "sep_token_id": 1, "bos_token_id": 0, "eos_token_id": 1}
    return transformers.ModernBertConfig(vocab_size=420, local_attention=8, **sizes, **special)


def write_multimodal(folder: Path, kind: str) -> Path:
    """A random model that reads images too, by more layers than the two of its text model."""
    text = GROUPED | {"vocab_size": 420, "hidden_size": 64, "head_dim": 32, "pad_token_id": 0}
    image = {"image_size": 28, "patch_size": 14, "num_hidden_layers": 4}
    vision = SMALL | image | {"model_type": "siglip_vision_model"}
    ids = {"image_token_index": 5, "boi_token_index": 6, "eoi_token_index": 7}
    across = {"cross_attention_layers": [1]}
    other = {"num_global_layers": 1, "attention_heads": 2, "vision_output_dim": 64, "image_size": 28}
    config = {
        "gemma3": lambda: transformers.Gemma3Config(
            text_config=text | {"sliding_window": 8}, vision_config=vision, mm_tokens_per_image=4, **ids
        ),
        "paligemma": lambda: transformers.PaliGemmaConfig(
            text_config=text | {"model_type": "gemma"},
            vision_config=vision,
            projection_dim=64,
            image_token_index=5,
        ),
        "mllama": lambda: transformers.MllamaConfig(
            text_config=text | across, vision_config=SMALL | other | {"intermediate_layers_indices": [0]}
        ),
    }[kind]()
    torch.manual_seed(0)
    transformers.AutoModel.from_config(config).save_pretrained(folder)
    llama3_tokenizer().save_pretrained(folder)
    return folder


TEMPLATE = (
    "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}<|end_of_text|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def write_language_model(folder: Path, kind: str = "llama") -> Path:
    """A small random language model whose answers vary and sometimes end."""
    torch.manual_seed(0)
    if kind == "llama":
        model = transformers.LlamaForCausalLM(llama_config(initializer_range=0.4))
    else:  # some of its layers see a window only
        model = transformers.Gemma3ForCausalLM(
            transformers.Gemma3TextConfig(
                vocab_size=420,
                sliding_window=16,
                layer_types=["sliding_attention", "full_attention"],
                eos_token_id=1,
                bos_token_id=0,
                pad_token_id=1,
                **GROUPED | {"initializer_range": 0.4},
            )
        )
    model.save_pretrained(folder)
    tokenizer = llama3_tokenizer()
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)
    return folder


def recipe(backbone, dataset, size):
    """The settings of a fit of two short epochs, in batches of `size` sentences."""
    return {
        "seed_everything": 3,
        "trainer": {"accelerator": "cpu", "max_epochs": 2, "log_every_n_steps": 1},
        "model": {
            "backbone": str(backbone),
            "lora": {"rank": 4},
            "optimizer": {"lr": 0.01, "head_lr": 0.03, "crf_lr": 0.1},
        },
        "data": {"dataset": str(dataset), "batches": {"size": size}},
    }


def trainer(**options):
    """A plain Trainer of an epoch on the CPU that prints and saves nothing."""
    import lightning.pytorch as pl  # only here: it takes seconds

    silent = ("logger", "enable_progress_bar", "enable_model_summary", "enable_checkpointing")
    settings = dict.fromkeys((*silent, "use_distributed_sampler"), False) | {"num_sanity_val_steps": 0}
    return pl.Trainer(**settings | {"max_epochs": 1, "accelerator": "cpu"} | options)
