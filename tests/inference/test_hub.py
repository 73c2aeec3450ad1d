"""A tagger goes to the Hugging Face Hub and comes back; what the Hub refuses is explained."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import pytest
import taggers
from hub_server import HubServer
from untrained import write_checkpoint

from ner_lightning.errors import UserError
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


@pytest.fixture
def pushed(monkeypatch):
    """What was uploaded: the repositories that were created, and the files of each."""
    found = SimpleNamespace(created={}, files={})

    class Api:
        def create_repo(self, repo_id, *, private, exist_ok):
            assert exist_ok
            found.created[repo_id] = private

        def create_commit(self, repo_id, operations, *, commit_message):
            contents = {}
            for operation in operations:
                data = operation.path_or_fileobj
                data = data if isinstance(data, bytes) else Path(data).read_bytes()
                contents[operation.path_in_repo] = data
            found.files[repo_id] = contents
            return SimpleNamespace(commit_url=f"https://huggingface.co/{repo_id}/commit/1")

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    return found


def loaded(hub, home, *calls):
    """What each call of `from_pretrained` gives in a process that takes the server for the Hub."""
    command = [sys.executable, "-c", LOAD % TEXTS]
    done = subprocess.run(
        command, input=json.dumps(calls), env=hub.env(home), capture_output=True, text=True, cwd=home.parent
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_there_and_back(llama, tmp_path, pushed):
    tagger = NERTagger.from_run(str(write_checkpoint(tmp_path, llama, peft="lora", lora={"rank": 2})))
    tagger.temperature = 2
    address = tagger.push_to_hub("lab/tagger", private=True)
    assert address == "https://huggingface.co/lab/tagger/commit/1"
    assert pushed.created == {"lab/tagger": True}
    files = pushed.files["lab/tagger"]
    assert {"README.md", "ner_lightning.json", "model.safetensors", "tagger.safetensors"} <= files.keys()
    assert b"# tagger" in files["README.md"]
    assert str(tmp_path).encode() not in files["ner_lightning.json"]
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
            "missing holds no ner_lightning.json",
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


def test_an_exported_folder_is_uploaded_as_it_is(llama, tmp_path, pushed):
    folder = export(str(write_checkpoint(tmp_path, llama)), tmp_path / "out")
    (folder / "README.md").write_text("edited")
    (folder / ".git").mkdir()
    (folder / ".git" / "config").write_text("secret")
    NERTagger.from_pretrained(folder).push_to_hub("lab/tagger")
    assert pushed.created == {"lab/tagger": False}
    files = pushed.files["lab/tagger"]
    assert files == {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()}
    assert files["README.md"] == b"edited"


def test_what_cannot_be_pushed_is_explained(llama, tmp_path, pushed, monkeypatch):
    with pytest.raises(UserError, match="load the tagger with from_run or from_pretrained"):
        taggers.random_tagger(llama).push_to_hub("lab/tagger")
    run = write_checkpoint(tmp_path, llama, peft="lora", lora={"rank": 2})
    small = NERTagger.from_run(str(run))
    with pytest.raises(UserError, match="so nobody else could load it"):
        small.push_to_hub("lab/tagger", format="adapter")
    assert not pushed.created

    class Refusing:
        def create_repo(self, *arguments, **options):
            response = SimpleNamespace(status_code=403, headers={}, request=None, url="", text="")
            raise huggingface_hub.errors.HfHubHTTPError("no", response=response)

    monkeypatch.setattr(huggingface_hub, "HfApi", Refusing)
    with pytest.raises(UserError, match="lab/tagger is refused to this account"):
        small.push_to_hub("lab/tagger")
