"""Hooks of MkDocs: pages stay as GitHub shows them, and the site is made of them.

The navigation is read from docs/README.md. A link to a file outside docs/ leads to a copy of it under
`repository/` in the site: a page and HTML as they are, a notebook as its cells, a folder as a list, other
text as code.
"""

import json
import os
import posixpath
import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

DOCS = Path(__file__).parent
ROOT = DOCS.parent
COPIES = "repository"
FENCE = re.compile(r"^(```.*?^```)$", flags=re.S | re.M)
LINK = re.compile(r"\]\(([^()\s]*(?:\([^()\s]*\)[^()\s]*)*)\)")
ENTRY = re.compile(r"\[([^\]]+)\]\(([^)#\s]+)\)")
LANGUAGES = {
    ".py": "python",
    ".yaml": "yaml",
    ".yml": "yaml",
    ".toml": "toml",
    ".json": "json",
    ".sh": "bash",
}


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Reads the navigation from the index page: a heading is a section, each of its links a page."""
    index = (DOCS / "README.md").read_text(encoding="utf-8")
    sections = re.split(r"^## (.+)$", index, flags=re.M)
    config.nav = [{"Start": "README.md"}]
    for title, text in zip(sections[1::2], sections[2::2], strict=True):
        pages = [
            {(name[0].upper() + name[1:]).replace("`", ""): _source(DOCS / target)}
            for name, target in ENTRY.findall(text)
            if target.endswith(".md")
        ]
        config.nav.append({title: pages})
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the files outside docs/ to which pages link, and those to which these link in turn."""
    known: set[Path] = set()
    waiting = [DOCS / file.src_uri for file in files.documentation_pages()]
    while waiting:
        page = waiting.pop()
        for path in _targets(page):
            if path not in known and _source(path).startswith(COPIES) and path.exists():
                known.add(path)
                files.append(File.generated(config, _source(path), content=_copy(path)))
                waiting += [path] if path.suffix in {".md", ".ipynb"} else []
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Points links at the files of the site."""
    here = page.file.src_uri
    copied = here.startswith(f"{COPIES}/")
    original = ROOT / here.removeprefix(f"{COPIES}/") if copied else DOCS / here
    if not original.is_file():
        original = original.with_suffix("")  # a copy of another kind of file

    def rewritten(found: re.Match[str]) -> str:
        path, _, anchor = found[1].partition("#")
        if not path or re.match(r"[a-z]+:", path):
            return found[0]
        target = posixpath.relpath(_source(_resolved(original, path)), posixpath.dirname(here) or ".")
        return f"]({target}{'#' + anchor if anchor else ''})"

    return _outside_code(lambda text: LINK.sub(rewritten, text), markdown)


def _targets(page: Path) -> list[Path]:
    text = FENCE.sub("", _copy(page))
    paths = (target.partition("#")[0] for target in LINK.findall(text))
    return [_resolved(page, path) for path in paths if path and not re.match(r"[a-z]+:", path)]


def _resolved(page: Path, path: str) -> Path:
    return Path(os.path.normpath(page.parent / unquote(path)))


def _source(path: Path) -> str:
    """What stands for a file of the repository in the site."""
    path = Path(os.path.normpath(path))
    if path == DOCS:
        return "README.md"
    if DOCS in path.parents and path.suffix not in {".html", ".py"}:
        return path.relative_to(DOCS).as_posix()
    name = path.relative_to(ROOT).as_posix()
    return f"{COPIES}/{name}" if path.suffix in {".md", ".html"} else f"{COPIES}/{name}.md"


def _copy(path: Path) -> str:
    title = f"# {path.relative_to(ROOT).as_posix()}\n\n"
    if path.is_dir():
        return title + "".join(f"- `{file.name}`\n" for file in sorted(path.iterdir()) if file.is_file())
    text = path.read_text(encoding="utf-8")
    if path.suffix in {".md", ".html"}:
        return text
    if path.suffix == ".ipynb":
        return "\n\n".join(_cell(cell) for cell in json.loads(text)["cells"])
    return f"{title}```{LANGUAGES.get(path.suffix, 'text')}\n{text}```\n"


def _cell(cell: dict[str, object]) -> str:
    source = cell["source"]
    text = "".join(source) if isinstance(source, list) else str(source)
    return text if cell["cell_type"] == "markdown" else f"```python\n{text}\n```"


def _outside_code(change: Callable[[str], str], text: str) -> str:
    """A text with its parts outside fenced code changed."""
    return "".join(part if index % 2 else change(part) for index, part in enumerate(FENCE.split(text)))
