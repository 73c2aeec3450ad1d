"""Errors of memory that ran out, in lines that say which option of the command to lower."""

from collections.abc import Sequence

from ner_lightning.commands.explained_errors.disk_errors import how_to_resume
from ner_lightning.errors import UserError
from ner_lightning.system.out_of_memory import out_of_memory

_AUDIT = "data audit"
_TRAIN = "use a smaller model.backbone, configs/with/qlora.yaml, or less data (see `ner-lightning memory`)"
_LOWER = {
    **dict.fromkeys(("fit", "pretrain"), _TRAIN),
    **dict.fromkeys(("validate", "test"), "lower data.batches.eval_size, or score less data"),
    "baseline": "lower --batch_size, --shots or --max_new_tokens",
    "predict": "give fewer --workers, or a tagger that was trained with a shorter data.encoding.max_length",
    "serve": "give fewer --workers",
    "distill": "give less --text, or a smaller teacher",
}
_OTHERWISE = "free some memory"
_ON_CPU = {
    **dict.fromkeys(("baseline", "predict", "serve", "distill"), "use --device cpu"),
    **dict.fromkeys(("fit", "pretrain", "validate", "test"), "use --trainer.accelerator cpu"),
    _AUDIT: "hide the GPU with CUDA_VISIBLE_DEVICES=''",
}
_SAME_COMMAND = {
    _AUDIT: "The same command resumes: it keeps the folds that are trained and scored.",
    "predict": "The same command resumes an --output that is a file.",
}


def explain_memory_error(error: BaseException, command: str, rest: Sequence[str]) -> UserError | None:
    """Turns an out-of-memory error into one for the user.

    Args:
        error: what was caught.
        command: the command that met it.
        rest: the words after it.

    Returns:
        An error whose message has two or three lines; None if it is of another kind.
    """
    where = out_of_memory(error)
    if where is None:
        return None
    key = _AUDIT if (command, *rest[:1]) == ("data", "audit") else command
    resume = how_to_resume(command)
    lower = _LOWER.get(key, _OTHERWISE)
    if command == "baseline" and resume:  # its other options are those of the run
        lower, resume = "lower --batch_size", f"{resume} --batch_size N"
    ways = [_ON_CPU[key]] if where == "GPU" and key in _ON_CPU else []
    advice = ", or ".join([lower, *ways])
    lines = [f"out of memory{' on the GPU' * (where == 'GPU')}.", f"{advice[0].upper()}{advice[1:]}."]
    again = f"Resume with: {resume}" if resume else _SAME_COMMAND.get(key)
    return UserError("\n".join([*lines, *filter(None, [again])]))
