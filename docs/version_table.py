"""The table of versions in docs/compatibility.md: lowest (pyproject.toml) and tested (constraints.txt)."""

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from ner_lightning.runs.results import markdown_table

ROOT = Path(__file__).parent.parent
TABLE = re.compile(r"(<!-- versions -->\n).*?(<!-- end -->)", flags=re.S)


def version_table() -> str:
    """Each direct requirement but those of development, with its lowest and its tested version."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    tested = {canonicalize_name(name): version for name, version in pinned.items()}
    groups = {"": project["dependencies"], **project["optional-dependencies"]}
    body = [["Python", project["requires-python"].removeprefix(">="), "3.11", ""]]
    for extra, listed in groups.items():
        if extra != "dev":
            for asked in map(Requirement, listed):
                lowest = str(asked.specifier).removeprefix(">=")
                body.append(
                    [asked.name, lowest, tested[canonicalize_name(asked.name)], extra and f"`[{extra}]`"]
                )
    return markdown_table(["package", "lowest", "tested", "extra"], body)


def with_versions(text: str) -> str:
    """A page with the table of versions renewed."""
    return TABLE.sub(lambda found: f"{found[1]}{version_table()}{found[2]}", text)
