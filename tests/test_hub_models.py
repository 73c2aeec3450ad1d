"""A backbone that the Hub does not give out ends in a few lines, not in a traceback or a long wait."""

import subprocess
import sys
import time

import pytest
from hub_server import HubServer

CASES = {
    "lab/gated": ("hf auth login", 401),
    "lab/refused": ("huggingface.co/lab/refused", 403),
    "lab/missing": ("lab/missing", None),
}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory, corpus):
    """Exit code, error text and seconds of each case; the commands run side by side."""
    folder = tmp_path_factory.mktemp("models")
    running = {}
    with HubServer() as hub:
        for name, (_, status) in CASES.items():
            if status is not None:
                hub.add_repo("models", name, {"config.json": b"{}"})
                hub.fail(name, status)
        began = time.monotonic()
        for name in [*CASES, "lab/nobody"]:
            env = hub.env(folder / name)
            if name == "lab/nobody":
                env["HF_ENDPOINT"] = "http://127.0.0.1:9"  # nothing listens there
            words = ["fit", "--model.backbone", name, "--data.dataset", str(corpus)]
            running[name] = subprocess.Popen(
                [sys.executable, "-m", "ner_lightning", *words],
                env=env,
                cwd=folder,
                stderr=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                text=True,
            )
        found = {}
        for name, process in running.items():
            _, said = process.communicate(timeout=120)
            found[name] = process.returncode, said
        return found | {"seconds": time.monotonic() - began}


@pytest.mark.parametrize("name", [*CASES, "lab/nobody"])
def test_what_is_said(outcomes, name):
    code, said = outcomes[name]
    assert code == 2, said
    assert "Traceback" not in said
    assert 1 <= len(said.strip().split("\n")) <= 3
    assert CASES.get(name, (name,))[0] in said


def test_nobody_waits_for_retries(outcomes):
    assert outcomes["seconds"] < 60
