"""What the Hub does not give out ends the command in a few lines, not in a traceback or a long wait."""

import json
import subprocess
import sys

import pytest
from hub_server import HubServer

pytestmark = pytest.mark.slow  # two processes that import everything

CLIENT = """
import contextlib, io, json, sys, time
from ner_lightning.commands.main import main

with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
    main(["fit", "--print_config"])  # imports what commands import when they need it
for line in sys.stdin:
    err, began = io.StringIO(), time.monotonic()
    with contextlib.redirect_stderr(err), contextlib.redirect_stdout(io.StringIO()):
        code = main(json.loads(line))
    print(json.dumps([code, err.getvalue(), time.monotonic() - began]), flush=True)
"""
MODEL, DATA = "--model.backbone", "--data.dataset"
CASES = {
    "a gated model without a token": (
        MODEL,
        "lab/gated",
        401,
        "Accept its terms at {hub}/lab/",
    ),
    "a gated model without a grant": (MODEL, "lab/refused", 403, "this account is not on its list"),
    "an unknown model": (MODEL, "lab/missing", None, "lab/missing is not on the Hugging Face Hub"),
    "a model and no Hub": (MODEL, "lab/far", None, "the Hugging Face Hub cannot be reached"),
    "a gated data set": (DATA, "lab/closed", 401, "Accept its terms at {hub}/datasets/lab/"),
    "an unknown data set": (DATA, "lab/unknown", None, "lab/unknown is not on the Hugging Face Hub"),
    "a data set and no Hub": (DATA, "lab/far", None, "the Hugging Face Hub cannot be reached"),
}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory, llama, corpus):
    """Exit code, error text and seconds of each case."""
    folder = tmp_path_factory.mktemp("hub_commands")
    found = {}
    with HubServer() as hub:
        found["hub"] = hub.url
        for option, name, status, _ in CASES.values():
            if status is not None:
                hub.add_repo("models" if option == MODEL else "datasets", name, {"config.json": b"{}"})
                hub.fail(name, status)
        for reached in (True, False):
            env = hub.env(folder / str(reached))
            if not reached:
                env["HF_ENDPOINT"] = "http://127.0.0.1:9"  # nothing listens there
            cases = [case for case in CASES if reached == ("no Hub" not in case)]
            words = [["fit", MODEL, str(llama), DATA, str(corpus), *CASES[case][:2]] for case in cases]
            done = subprocess.run(
                [sys.executable, "-c", CLIENT],
                input="".join(json.dumps(each) + "\n" for each in words),
                env=env,
                cwd=folder,
                stdout=subprocess.PIPE,
                text=True,
                timeout=200,
                check=True,
            )
            found |= zip(cases, map(json.loads, done.stdout.splitlines()), strict=True)
    return found


@pytest.mark.parametrize("case", CASES)
def test_what_is_said(outcomes, case):
    option, name, status, expected = CASES[case]
    code, said, _ = outcomes[case]
    assert code == 2, said
    assert "Traceback" not in said
    assert said.startswith(f"ner-lightning: {option.removeprefix('--')}: {name} ")
    assert 1 <= len(said.strip().split("\n")) <= 3
    assert expected.format(hub=outcomes["hub"]) in said
    if status is not None:
        assert "`hf auth login` or set HF_TOKEN=" in said
        assert ("SmolLM2-135M-Instruct" if option == MODEL else "--data.dataset FILE") in said


def test_nobody_waits_for_retries(outcomes):
    """huggingface_hub's own take half a minute where there is no Hub."""
    assert max(seconds for *_, seconds in (outcomes[case] for case in CASES)) < 15
