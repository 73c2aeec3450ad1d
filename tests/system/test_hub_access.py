"""What is asked of the Hub before a model is loaded, what the cache can do without it, and what is said."""

import time
from types import SimpleNamespace

import huggingface_hub
import pytest
from hub_server import HubServer, Reply
from huggingface_hub import constants, hf_hub_download

from ner_lightning.commands.explained_errors.disk_errors import explain_disk_error
from ner_lightning.data.pretrained import _on_hub, locate
from ner_lightning.data.tokenization.encoding import load_tokenizer
from ner_lightning.errors import UserError
from ner_lightning.export.upload import check_target
from ner_lightning.model.weights import load_backbone
from ner_lightning.system.hub_access import check_model_access
from ner_lightning.system.hub_errors import explain_hub_error
from ner_lightning.training.loggers.wandb_artifacts import log_data


class Mirror(HubServer):
    """It may lack the check of access, or take its time to answer."""

    checks, seconds = True, 0.0

    def _api(self, kind, repo_id, rest, *more):
        time.sleep(self.seconds)
        if rest == "auth-check" and not self.checks:
            return Reply(404, b"Not Found", content_type="text/html")
        return super()._api(kind, repo_id, rest, *more)


@pytest.fixture
def hub(monkeypatch, tmp_path):
    with Mirror() as server:
        server.serve_this_process(monkeypatch, tmp_path / "cache")
        yield server


def switch_off(monkeypatch):
    """From here on HF_HUB_OFFLINE is set, as in another process."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    _on_hub.cache_clear()


@pytest.mark.parametrize("revision", [None, "v1"])
def test_what_was_downloaded_serves_offline(hub, llama_files, monkeypatch, revision):
    hub.add_repo("models", "lab/tiny", llama_files | {"README.md": b"main"})
    commit = hub.add_repo("models", "lab/tiny", llama_files, revision=revision or "main")
    vocabulary = load_tokenizer(locate("lab/tiny", revision)).get_vocab()
    switch_off(monkeypatch)
    there = locate("lab/tiny", revision)
    assert there.kwargs == {"revision": commit, "local_files_only": True}
    assert load_tokenizer(there).get_vocab() == vocabulary


def test_which_cached_commit_is_taken_is_said(hub, llama_files, monkeypatch, caplog):
    old = hub.add_repo("models", "lab/tiny", llama_files)
    assert locate("lab/tiny").kwargs["revision"] == old
    hub.add_repo("models", "lab/tiny", llama_files | {"README.md": b"new"})
    _on_hub.cache_clear()
    monkeypatch.setattr(constants, "HF_HUB_ETAG_TIMEOUT", 0.1)
    hub.seconds = 0.5
    assert not caplog.messages
    assert locate("lab/tiny").kwargs == {"revision": old, "local_files_only": True}
    (said,) = caplog.messages
    assert "lab/tiny cannot be loaded from the Hub" in said
    assert said.endswith(f"\nUsing commit {old} from the local cache.")
    assert check_model_access("lab/tiny", old).local_files_only  # asked for by name: nothing to tell
    assert caplog.messages == [said]


def test_a_slow_hub_has_the_time_that_its_user_gives_it(hub, llama_files, monkeypatch):
    commit = hub.add_repo("models", "lab/tiny", llama_files)
    asked = []
    look_up = huggingface_hub.HfApi.model_info

    def model_info(*args, timeout, **more):
        asked.append(timeout)
        return look_up(*args, timeout=timeout, **more)

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", model_info)
    monkeypatch.setattr(constants, "HF_HUB_ETAG_TIMEOUT", 60)
    assert check_model_access("lab/tiny").commit == commit
    assert asked == [60]


def test_a_mirror_need_not_know_who_may_read(hub, llama_files):
    commit = hub.add_repo("models", "lab/tiny", llama_files)
    hub.checks = False
    assert check_model_access("lab/tiny") == (commit, False)
    hub.fail("lab/tiny", 403)  # gated, by what the mirror says of it
    assert check_model_access("lab/tiny") == (commit, False)
    hub.checks = True
    with pytest.raises(UserError, match=rf"is gated, and .*\nAccept its terms at {hub.url}/lab/tiny"):
        check_model_access("lab/tiny")


def test_a_commit_that_is_gone(hub, llama_files):
    commit = hub.add_repo("models", "lab/tiny", llama_files)
    assert not check_model_access("lab/tiny", commit).local_files_only
    hub._repos["models", "lab/tiny"].commits.clear()
    with pytest.raises(UserError, match=f"lab/tiny has no commit {commit} on the Hugging Face Hub, or no lo"):
        check_model_access("lab/tiny", commit)
    hub.add_repo("models", "lab/tiny", llama_files)
    hf_hub_download("lab/tiny", "config.json", revision=commit)
    hub._repos["models", "lab/tiny"].commits.clear()
    assert check_model_access("lab/tiny", commit) == (commit, True)


def test_what_fails_while_it_loads_is_said(hub, llama_files):
    hub.add_repo("models", "lab/tiny", llama_files)
    there = locate("lab/tiny")
    assert not there.kwargs["local_files_only"]
    hub.fail("lab/tiny", 401, files_only=True)
    with pytest.raises(UserError, match="lab/tiny is gated, and nobody is logged in"):
        load_tokenizer(there)
    with pytest.raises(UserError, match=r"which this account can read on the Hub\.$"):
        weights(there)


@pytest.mark.slow
def test_a_connection_that_breaks_within_the_weights(hub, llama_files):
    hub.add_repo("models", "lab/tiny", llama_files)
    there = locate("lab/tiny")
    load_tokenizer(there)
    hub.drop("lab/tiny")
    with pytest.raises(UserError, match="the Hugging Face Hub cannot be reached, or broke off"):
        weights(there)


def test_an_incomplete_cache(hub, llama_files, monkeypatch):
    hub.add_repo("models", "lab/tiny", llama_files)
    hf_hub_download("lab/tiny", "config.json")
    switch_off(monkeypatch)
    for load in (load_tokenizer, weights):
        with pytest.raises(UserError, match=r"lab/tiny cannot be loaded: .*\nThe local cache lacks some of"):
            load(locate("lab/tiny"))


def test_a_folder_and_a_repository_without_a_tokenizer_or_weights(hub, llama_files, llama, tmp_path):
    held = {
        name: content for name, content in llama_files.items() if not name.startswith(("tokenizer", "model"))
    }
    hub.add_repo("models", "lab/tiny", held)
    (tmp_path / "folder").mkdir()
    for name in ("config.json", "model.safetensors"):
        (tmp_path / "folder" / name).write_bytes(llama_files[name])
    loads = {load_tokenizer: ["lab/tiny", str(tmp_path / "folder")], weights: ["lab/tiny"]}
    for load, names in loads.items():
        for name in names:
            with pytest.raises(UserError, match=r"cannot be loaded: .*\nIt needs config\.json, weights in"):
                load(locate(name))


def weights(there):
    import torch

    return load_backbone(there, attention="causal", dtype=torch.float32)


class OIDCError(Exception):
    """As huggingface_hub 2 has it."""


def test_a_login_that_fails(monkeypatch):
    def get_token():
        raise OIDCError("No supported CI OIDC provider detected.")

    monkeypatch.setattr(huggingface_hub, "get_token", get_token)
    with pytest.raises(
        UserError, match=r"lab/x cannot be uploaded: the login by HF_OIDC_RESOURCE failed \(No"
    ):
        check_target("lab/x")
    said = str(explain_hub_error(OIDCError("No provider."), "lab/x", "model"))
    assert said.startswith("model.backbone: lab/x cannot be loaded: the login by HF_OIDC_RESOURCE failed (No")
    assert len(said.split("\n")) <= 3


def test_a_full_disk_may_be_that_of_the_cache(monkeypatch, tmp_path):
    (tmp_path / "hub").mkdir()
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    full = {str(tmp_path / "hub"): 0}
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=full.get(str(path), 2**40)))
    error = OSError(28, "No space left on device")
    assert f"no space is left for {tmp_path / 'hub'}" in str(explain_disk_error(error, "fit"))


def test_a_data_set_is_linked_to_where_it_came_from(monkeypatch):
    linked = []

    class Artifact:
        def __init__(self, *_, **__):
            """Nothing is kept of it."""

        def add_reference(self, address, **_):
            linked.append(address)

    monkeypatch.setattr("wandb.Artifact", Artifact)
    monkeypatch.setattr(constants, "ENDPOINT", "https://hub.lab")
    split = {"origin": "lab/data@main:train", "fingerprint": "commit:c0ffee (train)"}
    log_data(SimpleNamespace(log_artifact=linked.append), "lab/data", {"train": split})
    assert linked[0] == "https://hub.lab/datasets/lab/data/tree/c0ffee#train"
