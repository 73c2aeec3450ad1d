"""ExportedTokenizer: the tokenizer of an exported folder, without transformers, which is slow to import."""

import json
from pathlib import Path
from typing import Any

FILES = ("tokenizer.json", "tokenizer_config.json")


class ExportedTokenizer:
    """A tokenizer as `export` writes it; it encodes as transformers' own class does, and nothing else.

    Args:
        folder: with `FILES`.

    Attributes:
        bos_token_id: None if the tokenizer has no such token, and so on.
    """

    is_fast = True

    def __init__(self, folder: Path) -> None:
        from tokenizers import Tokenizer

        self._tokenizer = Tokenizer.from_file(str(folder / FILES[0]))
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        named = json.loads((folder / FILES[1]).read_text(encoding="utf-8"))
        self.bos_token_id = self._id(named.get("bos_token"))
        self.eos_token_id = self._id(named.get("eos_token"))
        self.pad_token_id = self._id(named.get("pad_token"))
        self.unk_token_id = self._id(named.get("unk_token"))

    def __call__(self, text: str | list[str], *, add_special_tokens: bool = True, **_: Any) -> dict[str, Any]:
        """Encodes a text or several: `input_ids`, and for several `offset_mapping`, in characters."""
        if isinstance(text, str):
            ids = self._tokenizer.encode(text, add_special_tokens=add_special_tokens).ids
            return {"input_ids": ids}
        coded = self._tokenizer.encode_batch(text, add_special_tokens=add_special_tokens)
        return {"input_ids": [each.ids for each in coded], "offset_mapping": [each.offsets for each in coded]}

    def get_vocab(self) -> dict[str, int]:
        """All sub-tokens and their ids."""
        vocabulary: dict[str, int] = self._tokenizer.get_vocab()
        return vocabulary

    def _id(self, token: str | dict[str, Any] | None) -> int | None:
        text = token.get("content") if isinstance(token, dict) else token
        return None if text is None else self._tokenizer.token_to_id(text)


def is_exported_tokenizer(folder: Path) -> bool:
    """Whether a folder holds a tokenizer that needs no class of its own."""
    if not all((folder / name).is_file() for name in FILES):
        return False
    named = json.loads((folder / FILES[1]).read_text(encoding="utf-8"))
    return named.get("tokenizer_class") in ("TokenizersBackend", "PreTrainedTokenizerFast")
