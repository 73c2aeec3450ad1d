"""The page of the public names, docs/reference/api.md, made of their signatures and docstrings."""

import inspect
import re
from collections.abc import Iterator
from typing import Any

import docstring_parser

import ner_lightning
from ner_lightning import UserError

HEAD = """# Public names

{note}`from ner_lightning import ...` gives these names: they are stable, and load on first use.
[Python](python.md) has examples that a test runs.

"""


def api_page(note: str) -> str:
    """Every public name."""
    public = {name: getattr(ner_lightning, name) for name in ner_lightning.__all__ if name != "__version__"}
    parts = [HEAD.format(note=note)]
    for name, value in sorted(public.items(), key=lambda item: item[0].lower()):
        parts.append(_section(name, value))
    return "".join(parts).rstrip("\n") + "\n"


def _section(name: str, value: Any) -> str:
    parts = [f"## {name}\n\n", f"`{value.__module__}`\n\n", _described(name, value)]
    if inspect.isclass(value):
        for method, function in _methods(value):
            parts.append(f"### {name}.{method}\n\n{_described(method, function)}")
    return "".join(parts)


def _methods(cls: type) -> Iterator[tuple[str, Any]]:
    """Public methods and properties of its own with a docstring, in the order of the code."""
    if cls.__module__.partition(".")[0] != "ner_lightning" or issubclass(cls, UserError):
        return
    for name, member in vars(cls).items():
        function = getattr(member, "__func__", getattr(member, "func", getattr(member, "fget", member)))
        hook = name.startswith("_") and name != "__call__"
        if hook or not inspect.isfunction(function) or not inspect.getdoc(function):
            continue
        if any(name in vars(base) for base in cls.__mro__ if base.__module__.split(".")[0] in FOREIGN):
            continue  # a hook that a framework calls
        yield name, function if callable(getattr(member, "__func__", member)) else member


FOREIGN = {"lightning", "torch", "torchmetrics"}


def _described(name: str, value: Any) -> str:
    parts = [_signature(name, value)]
    text = inspect.getdoc(value) or ""
    found = docstring_parser.parse(text, docstring_parser.DocstringStyle.GOOGLE)
    parts += [_plain(part) + "\n\n" for part in (found.short_description, found.long_description) if part]
    for title, listed in (("Args", "param"), ("Attributes", "attribute")):
        own = [p for p in found.params if p.args[0] == listed]
        if own:
            parts.append(f"{title}:\n\n")
            parts += [f"- `{p.arg_name}`: {_plain(p.description or '')}\n" for p in own]
            parts.append("\n")
    if found.returns and found.returns.description:
        kind = f"{found.returns.type_name}: " if found.returns.type_name else ""
        parts.append(f"Returns: {_plain(kind + found.returns.description)}\n\n")
    for error in found.raises:
        parts.append(f"Raises `{error.type_name}`: {_plain(error.description or '')}\n\n")
    return "".join(parts)


def _signature(name: str, value: Any) -> str:
    if not callable(value):
        return ""
    try:
        signature = inspect.signature(value)
    except ValueError:
        return ""
    parameters = [str(p) for key, p in signature.parameters.items() if key not in ("self", "cls")]
    kinds = [p.kind for key, p in signature.parameters.items() if key not in ("self", "cls")]
    if inspect.Parameter.KEYWORD_ONLY in kinds and inspect.Parameter.VAR_POSITIONAL not in kinds:
        parameters.insert(kinds.index(inspect.Parameter.KEYWORD_ONLY), "*")
    returns = signature.return_annotation
    result = "" if returns in (inspect.Signature.empty, None) else f" -> {_type(returns)}"
    line = f"{name}({', '.join(map(_shortened, parameters))}){result}"
    if len(line) > 100:
        line = f"{name}(\n" + "".join(f"    {_shortened(p)},\n" for p in parameters) + f"){result}"
    return f"```python\n{line}\n```\n\n"


def _type(annotation: Any) -> str:
    return _shortened(inspect.formatannotation(annotation).strip("'"))


def _shortened(text: str) -> str:
    """A parameter without the modules of its types, and without what a default object holds."""
    text = re.sub(r" = (\w+)\(.*\)$", r" = \1()", text)
    text = re.sub(r": '([\w.]+)'", r": \1", text).replace("ner_lightning.system.ranges.", "")
    # Of an array's type numpy's versions say more or less.
    text = re.sub(r"numpy\.ndarray\[.+?, numpy\.dtype\[([\w.]+)\]\]", r"NDArray[\1]", text)
    return re.sub(r"\b(?:[A-Za-z_]\w*\.)+(?=[A-Z])", "", text)


def _plain(text: str) -> str:
    """Running text, whose paragraphs stay apart."""
    return "\n\n".join(" ".join(part.split()) for part in text.split("\n\n"))
