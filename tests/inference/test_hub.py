"""A tagger is loaded from the Hugging Face Hub; what the Hub refuses is explained."""

import json
import subprocess
import sys

import pytest
from hub_server import HubServer
from untrained import write_checkpoint

from ner_lightning.export.exported_folder import export
from ner_lightning.inference.ner_tagger import NERTagger

TEXTS = ["Vera Holt left Lima.", "Okoro won."]
LOAD = """
import json, sys
from ner_lightning.errors import UserError
from ner_lightning.inference.ner_tagger import NERTagger

for arguments in json.load(sys.stdin):
    try:
        tagger = NERTagger.from_pretrained(*arguments.pop("name"), device="cpu", **arguments)
        said = [tagger.temperature, [list(each.tags) for each in tagger(%r)]]
    except UserError as error:
        said = str(error)
    print(json.dumps(said), flush=True)
"""


def loaded(hub, home, *calls):
    """What each call of `from_pretrained` gives in a process that takes the server for the Hub."""
    command = [sys.executable, "-c", LOAD % TEXTS]
    done = subprocess.run(
        command, input=json.dumps(calls), env=hub.env(home), capture_output=True, text=True, cwd=home.parent
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.slow
def test_there_and_back(llama, tmp_path):
    run = str(write_checkpoint(tmp_path, llama, peft="lora", lora={"rank": 2}))
    folder = export(run, tmp_path / "out", temperature=2)
    files = {file.name: file.read_bytes() for file in folder.iterdir()}
    tagger = NERTagger.from_run(run)
    with HubServer() as hub:
        commit = hub.add_repo("models", "lab/tagger", files)
        hub.add_repo("models", "lab/tagger", {"README.md": b"empty"}, revision="old")
        hub.add_repo("models", "lab/closed", files)
        hub.fail("lab/closed", 401)
        name = {"name": ["lab/tagger"]}
        first, pinned, *refused = loaded(
            hub,
            tmp_path / "home",
            name,
            name | {"revision": commit},
            name | {"revision": "old"},
            name | {"revision": "none"},
            {"name": ["lab/closed"]},
            {"name": ["lab/missing"]},
            {"name": ["missing"]},
            {"name": ["missing"], "revision": "main"},
        )
        assert first == pinned == [2, [list(each.tags) for each in tagger(TEXTS)]]
        expected = (
            "lab/tagger holds no ner_lightning.json",
            "NERTagger: lab/tagger has no such revision.\nSet `revision` to one of its branches",
            "NERTagger: lab/closed is gated, and nobody is logged in.",
            "NERTagger: lab/missing is not on the Hugging Face Hub, or is private.",
            "there is no folder missing",
            "missing is not a repository org/name on the Hub; leave out revision",
        )
        for said, start in zip(refused, expected, strict=True):
            assert said.startswith(start)
            assert len(said.split("\n")) <= 3
    # The server is gone: the cache serves, and what it lacks is explained.
    cached, said = loaded(hub, tmp_path / "home", name, {"name": ["lab/other"]})
    assert cached == first
    assert "there is no folder of that name here, and the Hugging Face Hub cannot be reached" in said
    assert "a local folder that `ner-lightning export` wrote" in said
