"""What the Hub does not give out ends the command in a few lines, not in a traceback or a long wait."""

import subprocess
import sys
import time

import pytest
from hub_server import HubServer

pytestmark = pytest.mark.slow  # seven commands, each of which imports everything

MODEL, DATA = "--model.backbone", "--data.dataset"
CASES = {
    "a gated model without a token": (
        MODEL,
        "lab/gated",
        401,
        "Accept its terms at https://huggingface.co/lab/",
    ),
    "a gated model without a grant": (MODEL, "lab/refused", 403, "this account is not on its list"),
    "an unknown model": (MODEL, "lab/missing", None, "lab/missing is not on the Hugging Face Hub"),
    "a model and no Hub": (MODEL, "lab/far", None, "the Hugging Face Hub cannot be reached"),
    "a gated data set": (DATA, "lab/closed", 401, "Accept its terms at https://huggingface.co/datasets/lab/"),
    "an unknown data set": (DATA, "lab/unknown", None, "lab/unknown is not on the Hugging Face Hub"),
    "a data set and no Hub": (DATA, "lab/far", None, "the Hugging Face Hub cannot be reached"),
}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory, llama, corpus):
    """Exit code and error text of each case, and the seconds of all; the commands run side by side."""
    folder = tmp_path_factory.mktemp("hub_commands")
    running = {}
    with HubServer() as hub:
        for option, name, status, _ in CASES.values():
            if status is not None:
                hub.add_repo("models" if option == MODEL else "datasets", name, {"config.json": b"{}"})
                hub.fail(name, status)
        began = time.monotonic()
        for case, (option, name, *_) in CASES.items():
            env = hub.env(folder / case)
            if "no Hub" in case:
                env["HF_ENDPOINT"] = "http://127.0.0.1:9"  # nothing listens there
            words = ["fit", MODEL, str(llama), DATA, str(corpus), option, name]
            running[case] = subprocess.Popen(
                [sys.executable, "-m", "ner_lightning", *words],
                env=env,
                cwd=folder,
                stderr=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                text=True,
            )
        found = {}
        for case, process in running.items():
            _, said = process.communicate(timeout=200)
            found[case] = process.returncode, said
        return found, time.monotonic() - began


@pytest.mark.parametrize("case", CASES)
def test_what_is_said(outcomes, case):
    option, name, status, expected = CASES[case]
    code, said = outcomes[0][case]
    assert code == 2, said
    assert "Traceback" not in said
    assert said.startswith(f"ner-lightning: {option.removeprefix('--')}: {name} ")
    assert 1 <= len(said.strip().split("\n")) <= 3
    assert expected in said
    if status is not None:
        assert "`hf auth login` or set HF_TOKEN=" in said
        assert ("SmolLM2-135M-Instruct" if option == MODEL else "--data.train") in said


def test_nobody_waits_for_retries(outcomes):
    assert outcomes[1] < 100
