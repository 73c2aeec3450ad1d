"""TokenizerSource: the backbone whose tokenizer splits words into sub-tokens."""

from dataclasses import dataclass

from ner_lightning.data.pretrained import Pretrained, locate


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
        """Where its files are."""
        return locate(self.backbone, self.revision)
