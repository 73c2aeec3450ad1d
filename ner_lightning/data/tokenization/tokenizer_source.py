"""TokenizerSource: the backbone whose tokenizer splits words into sub-tokens."""

from dataclasses import dataclass

from ner_lightning.data.pretrained import Pretrained, locate
from ner_lightning.errors import UserError


@dataclass(frozen=True)
class TokenizerSource:
    """Where a tokenizer comes from.

    Args:
        backbone: the backbone's address; see `NERModule`.
        revision: its branch, tag or commit on the Hub.
        trust_remote_code: run Python code that comes with it.
    """

    backbone: str
    revision: str | None = None
    trust_remote_code: bool = False

    @property
    def pretrained(self) -> Pretrained:
        """Where its files are.

        Raises:
            UserError: there is none, or it was not named.
        """
        if not self.backbone:
            raise UserError(
                "whose tokenizer splits the words is not known: name it, CoNLLDataModule(backbone=...),\n"
                "or give the data module to a Trainer together with its NERModule"
            )
        return locate(self.backbone, self.revision)
