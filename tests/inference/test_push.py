"""A trained tagger is uploaded to the Hub by huggingface_hub's own requests, and loaded from there."""

import json
import shutil
import subprocess
import sys

import huggingface_hub
import pytest
import taggers
import torch
from hub_server import HubServer
from hub_uploads import READ, WRITE
from untrained import write_checkpoint

from ner_lightning.commands.main import main
from ner_lightning.errors import UserError
from ner_lightning.export.exported_folder import export
from ner_lightning.export.upload import _deletions
from ner_lightning.inference.ner_tagger import NERTagger

TEXTS = ["Vera Holt left Lima.", "Okoro won."]
CLIENT = """
import contextlib, io, json, os, sys, time, types
from huggingface_hub import constants
from huggingface_hub.utils import _http as http
from ner_lightning.errors import UserError
from ner_lightning.commands.main import main
from ner_lightning.inference.ner_tagger import NERTagger

for line in sys.stdin:
    call, err = json.loads(line), io.StringIO()
    os.environ.update(call.pop("env"))
    constants.HF_HUB_DISABLE_XET = not call.pop("xet", False)
    http.time = time if call.pop("waits", True) else types.SimpleNamespace(sleep=lambda seconds: None)
    os.chdir(call.pop("folder"))
    with contextlib.redirect_stderr(err), contextlib.redirect_stdout(io.StringIO()):
        try:
            if "main" in call:
                said = main(call["main"])
            elif "push" in call:
                backbone = call.pop("backbone", None)
                tagger = NERTagger.from_run(call.pop("run"), device="cpu", backbone=backbone)
                tagger.temperature = call.pop("temperature")
                said = tagger.push_to_hub(call.pop("push"), **call)
            else:
                tagger = NERTagger.from_pretrained(call.pop("load"), device="cpu", **call)
                said = [tagger.temperature, [list(each.tags) for each in tagger(%r)]]
        except UserError as error:
            said = str(error)
    print(json.dumps([said, err.getvalue()]), flush=True)
"""


class Client:
    """One process that takes the server for the Hub; each call gives what it returned, and its stderr."""

    def __init__(self, hub, folder):
        self.hub = hub
        command = [sys.executable, "-c", CLIENT % TEXTS]
        env, pipe = hub.env(folder / "home"), subprocess.PIPE
        self.process = subprocess.Popen(command, env=env, stdin=pipe, stdout=pipe, text=True)

    def __call__(self, folder, token=WRITE, **call):
        env = {"HF_TOKEN": token, "TMPDIR": str(folder)}
        self.process.stdin.write(json.dumps(call | {"folder": str(folder), "env": env}) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    with HubServer() as hub:
        client = Client(hub, tmp_path_factory.mktemp("client"))
        yield client
        client.process.stdin.close()
        client.process.stdout.close()
        assert client.process.wait(60) == 0


@pytest.fixture(scope="module")
def run(llama, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    return write_checkpoint(folder, llama, peft="lora", lora={"rank": 2})


def test_a_run_is_pushed_from_python_and_loaded_again(client, run, tmp_path):
    hub, tags = client.hub, [list(each.tags) for each in NERTagger.from_run(str(run))(TEXTS)]
    said, _ = client(tmp_path, push="lab/tagger", run=str(run), temperature=2, private=True)
    assert said.startswith(f"{hub.url}/lab/tagger/commit/")
    assert hub.uploads.private["lab/tagger"]
    assert client(tmp_path, load="lab/tagger")[0] == [2, tags]
    files = hub.files("models", "lab/tagger")
    assert str(run.parent).encode() not in files["ner_lightning.json"]
    assert {"model.safetensors", "tagger.safetensors", "tokenizer.json"} == hub.uploads.large
    for step in ("validate-yaml", "models/lab/tagger/preupload/main", "models/lab/tagger/commit/main"):
        assert f"POST /api/{step}" in hub.requests
    assert not list(tmp_path.glob("ner-lightning-*")), "what was exported for the upload is gone"


def test_a_run_is_pushed_by_the_command_and_its_folder_again(client, run, tmp_path):
    hub, tags = client.hub, [list(each.tags) for each in NERTagger.from_run(str(run))(TEXTS)]
    said, err = client(tmp_path, main=["export", str(run), "--push", "lab/other"])
    assert said == 0
    assert 'next, in Python: NERTagger.from_pretrained("lab/other")' in err
    card = hub.files("models", "lab/other")["README.md"].decode()
    assert 'NERTagger.from_pretrained("lab/other")' in card
    assert "path/to/this/folder" not in card
    (tmp_path / "other" / "README.md").write_text("edited")
    (tmp_path / "other" / ".git").mkdir()
    (tmp_path / "other" / ".git" / "config").write_text("secret")
    words = ["export", "other", "--push", "lab/again", "--private", "--temperature", "3"]
    assert client(tmp_path, main=words)[0] == 0
    assert client(tmp_path, load="lab/again", revision="main")[0] == [3, tags]
    files = hub.files("models", "lab/again")
    assert files["README.md"] == b"edited"
    assert files.keys() == {
        ".gitattributes", *(file.name for file in (tmp_path / "other").iterdir() if file.is_file())
    }  # fmt: skip
    assert hub.uploads.private["lab/again"]
    assert not hub.uploads.private["lab/other"]


def test_adapters_stay_small_and_find_their_backbone_on_the_hub(client, run, llama, tmp_path):
    hub = client.hub
    commit = hub.add_repo("models", "lab/llama", {f.name: f.read_bytes() for f in llama.iterdir()})
    held = torch.load(run)
    held["config"]["model"]["backbone"] = "lab/llama"
    held["backbone"] = {"name": "lab/llama", "weights": f"commit:{commit}"}
    torch.save(held, tmp_path / "there.ckpt")
    words = ["export", "there.ckpt", "--format", "adapter", "--output", "small", "--push", "lab/small"]
    assert client(tmp_path, main=words)[0] == 0
    tags = [list(each.tags) for each in NERTagger.from_run(str(run))(TEXTS)]
    assert client(tmp_path, load="lab/small")[0] == [1, tags]
    files = hub.files("models", "lab/small")
    assert {"adapter_config.json", "adapter_model.safetensors", "tagger.safetensors"} <= files.keys()
    assert "model.safetensors" not in files
    small = sum(len(data) for name, data in files.items() if "safetensors" in name)
    assert small < (llama / "model.safetensors").stat().st_size / 4
    card = huggingface_hub.ModelCard(files["README.md"].decode()).data
    assert card.base_model == "lab/llama"
    assert card.base_model_relation == "adapter"


@pytest.mark.slow
def test_another_format_takes_the_place_of_the_first(client, run, llama, tmp_path):
    hub, name = client.hub, "lab/both"
    commit = hub.add_repo("models", "lab/base", {f.name: f.read_bytes() for f in llama.iterdir()})
    held = torch.load(run)
    held["config"]["model"]["backbone"] = "lab/base"
    held["backbone"] = {"name": "lab/base", "weights": f"commit:{commit}"}
    torch.save(held, tmp_path / "there.ckpt")
    tags = [list(each.tags) for each in NERTagger.from_run(str(run))(TEXTS)]
    for format, weights in (("adapter", "adapter_model"), ("merged", "model"), ("adapter", "adapter_model")):
        words = [
            "export",
            "there.ckpt",
            "--format",
            format,
            "--output",
            f"{format}-{weights}",
            "--push",
            name,
        ]
        shutil.rmtree(tmp_path / f"{format}-{weights}", ignore_errors=True)
        assert client(tmp_path, main=words)[0] == 0
        assert client(tmp_path, load=name)[0] == [1, tags]
        kept = {file for file in hub.files("models", name) if file.endswith(".safetensors")}
        assert kept == {f"{weights}.safetensors", "tagger.safetensors"}
        hub.add_repo("models", name, hub.files("models", name) | {"eval_results.json": b"{}"})
    assert hub.files("models", name)["eval_results.json"] == b"{}"  # what others added stays


def test_files_that_are_not_ours_are_left_alone():
    there = ["config.json", "model.safetensors", "README.md"]
    assert _deletions(there, {"ner_lightning.json"}) == []
    (first, second) = _deletions([*there, "ner_lightning.json"], {"ner_lightning.json", "README.md"})
    assert [first.path_in_repo, second.path_in_repo] == there[:2]


def test_a_run_whose_backbone_was_moved_is_pushed(client, run, llama, tmp_path):
    held = torch.load(run)
    held["config"]["model"]["backbone"] = "gone/llama"
    held["backbone"]["name"] = held["backbone"]["folder"] = str(tmp_path / "gone/llama")
    torch.save(held, tmp_path / "moved.ckpt")
    call = {"run": str(tmp_path / "moved.ckpt"), "backbone": str(llama), "temperature": 1}
    said, _ = client(tmp_path, push="lab/moved", **call)
    assert said.startswith(f"{client.hub.url}/lab/moved/commit/")


REFUSED = {
    "a token that is not one": ("hf_wrong", {}, "does not know this token (401)"),
    "a token for reading": (READ, {}, "does not let this token write there (403)"),
    "a lost connection": (WRITE, {"broken": "/api/models/{}/commit"}, "cannot be reached, or broke off"),
    "no Hub": (WRITE, {"broken": "/api/repos/create"}, "cannot be reached, or broke off"),
    "refused by Xet storage": (WRITE, {"xet": True}, "does not let this token write there (403)"),
    "a server out of order": (WRITE, {"failing": 507, "objects": {}}, "answered 507"),
}


SLOW = "a connection lost within a file"  # which huggingface_hub tries again for half a minute
REFUSED[SLOW] = WRITE, {"broken": "/lfs/", "objects": {}}, "cannot be reached, or broke off"


@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=pytest.mark.slow if case == SLOW else ()) for case in REFUSED]
)
def test_what_was_exported_is_kept(client, case, run, tmp_path):
    hub, (token, trouble, expected) = client.hub, REFUSED[case]
    name = f"lab/{case.replace(' ', '-')}"
    xet = trouble.get("xet", False)
    vars(hub.uploads).update({k: v.format(name) if isinstance(v, str) else v for k, v in trouble.items()})
    words = ["export", str(run), "--output", "out", "--push", name, "--private", "--temperature", "2"]
    said, err = client(tmp_path, main=words, token=token, xet=xet, waits=case != SLOW)
    vars(hub.uploads).update(broken=None, failing=None)
    assert said == 2
    lines = err[err.index("ner-lightning: ") :].strip().split("\n")
    assert len(lines) == 3, lines
    assert lines[0].startswith(f"ner-lightning: {name} cannot be uploaded: the Hugging Face Hub")
    assert expected in lines[0]
    assert f"`ner-lightning export out --push {name} --private`" in lines[2]
    assert "ner_lightning.json" not in (hub.files("models", name) or {})
    # What the message says works, once the trouble is over.
    assert client(tmp_path, main=lines[2].split("`")[1].split()[1:])[0] == 0
    files = hub.files("models", name)
    assert json.loads(files["ner_lightning.json"])["temperature"] == 2


def test_python_keeps_what_it_exported(client, run, tmp_path):
    said, _ = client(tmp_path, push="lab/kept", run=str(run), temperature=2, token=READ)
    lines = said.split("\n")
    assert len(lines) == 3
    assert client(tmp_path, main=lines[2].split("`")[1].split()[1:])[0] == 0
    assert json.loads(client.hub.files("models", "lab/kept")["ner_lightning.json"])["temperature"] == 2


def test_a_card_that_the_hub_refuses_is_named(client, run, tmp_path):
    folder = export(str(run), tmp_path / "out")
    (folder / "README.md").write_text("---\nmodel-index:\n- results: []\n---\n")
    said, err = client(tmp_path, main=["export", "out", "--push", "lab/odd"])
    assert said == 2
    assert "Invalid metadata in README.md." in err
    assert "Traceback" not in err


def test_nothing_is_exported_in_vain(run, llama, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_TOKEN_PATH", str(tmp_path / "home" / "token"))
    folder = str(export(str(run), tmp_path / "done"))
    for words, expected in (
        ([str(run), "--push", "lab/tagger"], "nobody is logged in"),
        ([str(run), "--push", "tagger"], "name it org/name"),
        ([str(run), "--output", "out", "--private"], "--private is for --push"),
        ([str(run)], "--output DIR"),
    ):
        assert main(["export", *words]) == 2
        said = capsys.readouterr().err
        assert expected in said
        assert len(said.strip().split("\n")) <= 3
    monkeypatch.setenv("HF_TOKEN", WRITE)
    assert main(["export", folder, "--push", "lab/tagger"]) == 2  # as all tests are offline
    assert "HF_HUB_OFFLINE is set" in capsys.readouterr().err
    assert main(["export", folder, "--push", "lab/tagger", "--format", "adapter"]) == 2
    assert "has no effect" in capsys.readouterr().err
    assert {file.name for file in tmp_path.iterdir()} <= {"done", "home"}
    with pytest.raises(UserError, match="load the tagger with from_run or from_pretrained"):
        taggers.random_tagger(llama).push_to_hub("lab/tagger")
    small = NERTagger.from_run(str(run))
    with pytest.raises(UserError, match="so nobody else could load it"):
        small.push_to_hub("lab/tagger", format="adapter")
