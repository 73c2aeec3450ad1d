"""Reads YAML, and finds a key that stands twice in one mapping: PyYAML keeps the last without a word."""

from typing import Any, NamedTuple

import yaml


class Twice(NamedTuple):
    """A key that stands twice in one mapping.

    Attributes:
        key: with those above it, between dots.
        line: of the second one, from 1.
        first: the line of the first one.
    """

    key: str
    line: int
    first: int

    def __str__(self) -> str:
        return f"{self.key} stands twice, first in line {self.first}; only one of them would count"


def read_yaml(text: str) -> tuple[Any, Twice | None]:
    """The content of a document, and the first key that stands twice; None if there is none.

    Raises:
        yaml.YAMLError: it is not YAML.
    """
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None, None
        twice = _twice(node, "")  # before what `<<` names is put in
        return loader.construct_document(node), twice
    finally:
        loader.dispose()


def _twice(node: yaml.Node, above: str) -> Twice | None:
    if isinstance(node, yaml.SequenceNode):
        return next(filter(None, (_twice(each, above) for each in node.value)), None)
    if not isinstance(node, yaml.MappingNode):
        return None
    lines: dict[str, int] = {}
    for key, value in node.value:
        name = above + str(key.value)
        line = key.start_mark.line + 1
        if isinstance(key, yaml.ScalarNode) and key.value != "<<":
            if name in lines:
                return Twice(name, line, lines[name])
            lines[name] = line
        if (found := _twice(value, f"{name}.")) is not None:
            return found
    return None
