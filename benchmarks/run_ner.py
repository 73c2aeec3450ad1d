"""Trains as Hugging Face's run_ner.py does, taking turns: the baseline of train_speed.py.

Trainer, LlamaForTokenClassification, its default collator and sampling, fp32 weights under bf16 autocast;
PEFT's LoRA on all linear layers but the score layer. The sub-tokens are ours, so both sides count the same.
"""

import argparse
import tempfile
import warnings
from typing import Any

import measure
import torch
from lockstep import Turns
from peft import LoraConfig, TaskType, get_peft_model
from transformers import (
    AutoModelForTokenClassification,
    DataCollatorForTokenClassification,
    GgufConfig,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from ner_lightning.data.pretrained import locate
from ner_lightning.training.datamodule import CoNLLDataModule


class TakesTurns(TrainerCallback):
    """Waits before a turn's first step, reports after its last."""

    def __init__(self, model: torch.nn.Module) -> None:
        self._turns = Turns()
        self._tokens = 0
        model.register_forward_pre_hook(self._count, with_kwargs=True)

    def _count(self, module: Any, args: Any, kwargs: dict[str, Any]) -> None:
        mask = kwargs["attention_mask"]
        self._tokens += int(mask.sum()) - len(mask)  # one a row is special

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        """Waits for a turn."""
        self._turns.before_step()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """Counts the step."""
        self._turns.after_step(self._tokens)
        self._tokens = 0


def main() -> None:
    """Trains until it is ended."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--backbone")
    parser.add_argument("--grouped", action="store_true", help="sentences of like length together")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    model_settings = measure.recipe()
    backbone = options.backbone or model_settings["backbone"]
    data = CoNLLDataModule(dataset=options.data, backbone=backbone)
    rows = []
    for sentence in data.corpus.encoded("train"):
        assert sentence.tags is not None
        labels = torch.full((len(sentence.windows[0]),), -100)
        labels[sentence.first] = torch.from_numpy(sentence.tags)
        ids = sentence.windows[0].tolist()
        rows.append({"input_ids": ids, "attention_mask": [1] * len(ids), "labels": labels.tolist()})
    where = locate(backbone)
    extra: dict[str, Any] = dict(where.kwargs)
    if where.gguf_file is not None:
        extra["quantization_config"] = GgufConfig(dequantize=True)
    model = AutoModelForTokenClassification.from_pretrained(
        where.name, num_labels=len(data.corpus.labels), dtype=torch.float32, **extra
    )
    lora = model_settings["lora"]
    adapters = LoraConfig(
        task_type=TaskType.TOKEN_CLS,
        r=lora["rank"],
        lora_alpha=lora["alpha"],
        target_modules="all-linear",
        exclude_modules=["score"],
    )
    model = get_peft_model(model, adapters)
    print(f"{sum(p.numel() for p in model.parameters() if p.requires_grad)} trained parameters", flush=True)
    tokenizer: Any = data.corpus.encoder.tokenizer
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            per_device_train_batch_size=options.batch,
            bf16=True,
            use_cpu=not torch.cuda.is_available(),
            train_sampling_strategy="group_by_length" if options.grouped else "random",
            num_train_epochs=100,
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
        )
        trainer = Trainer(
            model=model,
            args=arguments,
            train_dataset=rows,
            data_collator=DataCollatorForTokenClassification(tokenizer),
            callbacks=[TakesTurns(model)],
        )
        trainer.train()


if __name__ == "__main__":
    main()
