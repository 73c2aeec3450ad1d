"""StoredSettings: `load_from_checkpoint` ignores settings of other versions, and checks its caller's."""

import dataclasses
import inspect
from collections.abc import Mapping
from typing import Any, Self

from lightning.pytorch.utilities.model_helpers import _restricted_classmethod

from ner_lightning.errors import UserError
from ner_lightning.system.plain_settings import from_checkpoint, known_settings, likely, to_plain

OPTIONS = {"map_location", "hparams_file", "strict", "weights_only"}  # of Lightning


class StoredSettings:
    """What our modules share: Lightning drops settings that a constructor does not know, without a word."""

    @_restricted_classmethod
    def load_from_checkpoint(
        cls,  # noqa: N805  (a class method)
        checkpoint_path: Any,
        *args: Any,
        **given: Any,
    ) -> Self:
        """Loads a checkpoint, as Lightning does; settings that are given win over stored ones.

        Raises:
            UserError: there is no such setting.
        """
        parameters = inspect.signature(cls).parameters
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
            for name in given.keys() - OPTIONS - parameters.keys():
                raise UserError(f"{cls.__name__} has no setting {name}; {likely(name, list(parameters))}")
        for name in given.keys() & parameters.keys():
            kind = parameters[name].annotation
            settings = isinstance(kind, type) and dataclasses.is_dataclass(kind)
            if settings and isinstance(given[name], Mapping):
                known_settings(kind, given[name])
        lightning: Any = super()
        with from_checkpoint():
            loaded: Self = lightning.load_from_checkpoint(checkpoint_path, *args, **given)
        return loaded


def check_unchanged(module: Any, used: Mapping[str, Any]) -> None:
    """Checks that what is stored of a module are the settings that it works with.

    Args:
        module: one with `hparams`.
        used: its settings, as plain values.

    Raises:
        UserError: they were changed after it was made.
    """
    for name, value in used.items():
        stored = to_plain(module.hparams[name])
        if name != "revision" and _differ(stored, value):  # a branch is followed to the training's commit
            kind = type(module).__name__
            raise UserError(
                f"{kind}: {name} was changed after it was made, so that a checkpoint would not say what was "
                f"trained:\nhparams have {stored!r:.200}, not {value!r:.200}.\n"
                f"Make a new one: {kind}({name}=...)."
            )


def _differ(stored: Any, used: Any) -> bool:
    # A subclass may store what its caller gave: some settings of a group, and consent, which we do not store.
    if isinstance(stored, Mapping) and isinstance(used, Mapping):
        shared = stored.keys() & used.keys() - {"trust_remote_code"}
        return any(_differ(stored[name], used[name]) for name in shared)
    return bool(stored != used)
