"""ExportedTokenizer: the tokenizer of an exported folder, without transformers, which is slow to import."""

import json
from pathlib import Path
from typing import Any

from ner_lightning.errors import UserError

FILES = ("tokenizer.json", "tokenizer_config.json")


class ExportedTokenizer:
    """A tokenizer as `export` writes it; it encodes as transformers' own class does, and nothing else.

    Args:
        folder: with `FILES`.

    Attributes:
        bos_token_id: None if the tokenizer has no such token, and so on.

    Raises:
        UserError: a file is damaged.
    """

    is_fast = True

    def __init__(self, folder: Path) -> None:
        from tokenizers import Tokenizer

        try:
            self._tokenizer = Tokenizer.from_file(str(folder / FILES[0]))
        except Exception as error:  # tokenizers has no class of its own for what it cannot read
            raise UserError(f"{folder / FILES[0]}: no tokenizer ({error}); export it again") from None
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        named = _config(folder)
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
    return _config(folder).get("tokenizer_class") in ("TokenizersBackend", "PreTrainedTokenizerFast")


def _config(folder: Path) -> dict[str, Any]:
    """The tokenizer's settings.

    Raises:
        UserError: the file is damaged.
    """
    file = folder / FILES[1]
    try:
        return dict(json.loads(file.read_text(encoding="utf-8")))
    except (TypeError, ValueError) as error:
        raise UserError(f"{file}: not the settings of a tokenizer ({error}); export it again") from None
