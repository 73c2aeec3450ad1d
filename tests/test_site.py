"""The documentation as a site: builds without a warning, has every page, needs nothing from elsewhere."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from html.parser import HTMLParser
from pathlib import Path

import families
import pytest
import yaml

from ner_lightning.runs.results import read_rows

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
LOADED = {"link": "href", "script": "src", "img": "src", "iframe": "src", "source": "src", "object": "data"}


def build(folder, target):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(target)]
    env = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    target = tmp_path_factory.mktemp("docs") / "site"
    done = build(ROOT, target)
    assert done.returncode == 0, done.stdout + done.stderr
    return target


class Tags(HTMLParser):
    """The tags of a page with their attributes."""

    def __init__(self, file):
        super().__init__()
        self.found = []
        self.feed(file.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


def test_every_page_is_in_the_navigation(site):
    links = {attributes.get("href") for tag, attributes in Tags(site / "index.html").found if tag == "a"}
    pages = {page.relative_to(DOCS).with_suffix(".html").as_posix() for page in DOCS.rglob("*.md")}
    assert len(pages) > 30
    assert pages - {"README.html"} <= links
    assert "repository/ner_lightning/index.html" in links  # the map of the code, which is outside docs/


def test_pages_load_nothing_from_elsewhere(site):
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 30
    for page in pages:
        for tag, attributes in Tags(page).found:
            loaded = attributes.get(LOADED.get(tag)) or ""
            assert not re.match(r"(https?:)?//", loaded), (page, loaded)
            assert "mermaid" not in (attributes.get("class") or ""), page  # the theme would fetch its code
    for sheet in site.rglob("*.css"):
        assert not re.search(r"(url\(|@import)\s*[\"']?(https?:)?//", sheet.read_text(encoding="utf-8")), (
            sheet
        )


def test_the_search_knows_the_pages(site):
    known = json.loads((site / "search" / "search_index.json").read_text(encoding="utf-8"))["docs"]
    assert {"glossary.html", "troubleshooting.html#training", "reference/api.html#crf"} <= {
        entry["location"] for entry in known
    }


def test_a_file_outside_docs_is_shown_as_code(site):
    page = (site / "repository" / "configs" / "quickstart.yaml.html").read_text(encoding="utf-8")
    assert "seed_everything" in page


@pytest.mark.parametrize(
    ("text", "expected"), [("[x](no.md)", "no.md"), ("[x](#nowhere)", "nowhere"), ("[x](../no.py)", "no.py")]
)
def test_a_broken_link_stops_the_build(tmp_path, text, expected):
    (tmp_path / "docs").mkdir()
    for file in ("mkdocs.yml", "docs/site_hooks.py", "docs/site.css"):
        shutil.copy(ROOT / file, tmp_path / file)
    (tmp_path / "docs" / "README.md").write_text(f"# A\n\n{text}\n", encoding="utf-8")
    done = build(tmp_path, tmp_path / "site")
    assert done.returncode == 1
    assert expected in done.stdout + done.stderr


def messages():
    """All text in the package's code, parts of a message joined; what differs is a null character."""
    texts = []
    for module in (ROOT / "ner_lightning").rglob("*.py"):
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = (part.value if isinstance(part, ast.Constant) else "\0" for part in node.values)
                texts.append("".join(parts))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append(node.value)
    return texts


def test_messages_in_troubleshooting_are_those_of_the_code():
    texts = messages()
    page = (DOCS / "troubleshooting.md").read_text(encoding="utf-8")
    cells = re.findall(r"^\| (`.*?) \| ", page, flags=re.M)
    quoted = [message for cell in cells for message in re.findall(r"`([^`]+)`", cell)]
    assert len(quoted) > 30
    for message in quoted:
        pattern = re.compile(".*".join(map(re.escape, re.split(r" ?\.\.\. ?", message))), flags=re.S)
        assert any(map(pattern.search, texts)), message


def test_all_tested_families_are_listed():
    page = (DOCS / "backbones.md").read_text(encoding="utf-8")
    assert [name for name in families.CONFIGS if f"`{name}`" not in page] == []
    for test in re.findall(r"`(tests/[\w/]+\.py)`", page):
        assert (ROOT / test).is_file(), test


def test_all_fields_of_results_are_explained():
    page = (DOCS / "reference" / "results.md").read_text(encoding="utf-8")
    rows = read_rows(DOCS / "results.json")
    assert [name for name in {name for row in rows for name in row} if f"`{name}`" not in page] == []


def test_the_citation_names_this_version():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert (cited["version"], cited["license"]) == (project["version"], project["license"])
    page = (DOCS / "citation.md").read_text(encoding="utf-8")
    assert f"{{{project['version']}}}" in page
    assert f"{{{cited['title']}}}" in page


def test_agents_find_what_their_pages_name():
    links = re.findall(r"\]\(([^)#]+)\)", (ROOT / "llms.txt").read_text(encoding="utf-8"))
    assert len(links) > 15
    assert [link for link in links if not (ROOT / link).exists()] == []
    text = (ROOT / "AGENTS.md").read_text(encoding="utf-8")
    for target in re.findall(r"(?:^|`)make ([a-z-]+)", text, flags=re.M):
        assert f"\n{target}:" in MAKEFILE, target
    for path in re.findall(r"`([\w./]+/)`", text):
        assert (ROOT / path).is_dir(), path
