"""The map of the package in ner_lightning/README.md: its files, each with the first line of its docstring."""

import ast
import re
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "ner_lightning"
LAYERS = (
    *("commands", "training", "inference", "export", "serving", "prompting"),
    *("analysis", "model", "metrics", "data", "runs", "system"),
)
TREE = re.compile(r"(<!-- tree -->\n).*?(<!-- end -->)", flags=re.S)


def package_tree() -> str:
    """The package's folders and modules, upper layers first, each with the first line of its docstring."""
    folders = sorted({module.parent for module in PACKAGE.rglob("*.py")}, key=_layer)
    lines = []
    for folder in folders:
        path = folder.relative_to(PACKAGE).as_posix()
        indent = "" if path == "." else "  "
        if path != ".":
            lines.append(f"{path + '/':<23} {_about(folder / '__init__.py')}\n")
        for module in sorted(folder.glob("*.py")):
            if module.name not in {"__init__.py", "__main__.py"}:
                lines.append(f"{indent + module.name:<23} {_about(module)}\n")
    return "".join(lines)


def _layer(folder: Path) -> tuple[int, str]:
    parts = folder.relative_to(PACKAGE).parts
    return (LAYERS.index(parts[0]) if parts else -1, "/".join(parts))


def _about(module: Path) -> str:
    return (ast.get_docstring(ast.parse(module.read_text(encoding="utf-8"))) or "").split("\n")[0]


def with_tree(text: str) -> str:
    """A page with the package's tree renewed."""
    return TREE.sub(lambda found: f"{found[1]}```\n{package_tree()}```\n{found[2]}", text)
