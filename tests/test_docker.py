"""The container files, which no test can build here: what they copy, run, check and mount."""

import json
import re
import shlex
import tomllib
from pathlib import Path

import pytest
import yaml

from ner_lightning.commands.serve import parser
from ner_lightning.serving.access import OPEN, VARIABLE

ROOT = Path(__file__).parent.parent
FILES = sorted((ROOT / "docker").glob("*.Dockerfile"))
PINNED = {
    line.partition("==")[0].lower().replace("_", "-")
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    if not line.startswith("#")
}


def instructions(file):
    """The instructions of a Dockerfile, as pairs of name and argument."""
    lines = [line for line in file.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [tuple(line.split(maxsplit=1)) for line in joined.splitlines() if line.strip()]


def stages(file):
    """The instructions of each stage."""
    found = []
    for name, argument in instructions(file):
        if name == "FROM":
            found.append([])
        found[-1].append((name, argument))
    return found


def words(stage, name):
    """The JSON form of an instruction's command, which runs without a shell and so gets the signals."""
    (argument,) = (argument for each, argument in stage if each == name)
    return json.loads(argument[argument.index("[") :])


def copied(stage):
    """What a stage copies from the build's context."""
    return {word for name, argument in stage if name == "COPY" for word in argument.split()[:-1]}


def test_there_is_one_for_cpus_and_one_for_gpus():
    assert [file.name for file in FILES] == ["cpu.Dockerfile", "gpu.Dockerfile"]


@pytest.mark.parametrize("file", FILES, ids=lambda f: f.stem)
def test_an_image_has_two_stages_another_user_and_no_weights(file):
    build, image = stages(file)
    assert build[0][1].endswith(" AS build")
    python = re.match(r"python:([\d.]+)-slim", image[0][1])[1]
    required = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
        "requires-python"
    ]
    assert tuple(map(int, python.split("."))) >= tuple(map(int, required.removeprefix(">=").split(".")))
    names = [name for name, _ in image]
    assert names.index("USER") < names.index("ENTRYPOINT")
    user = dict(image)["USER"]
    assert int(user) > 0, "a number: Kubernetes cannot tell from a name that it is not root"
    assert f"--uid {user}" in dict(image)["RUN"]
    assert [argument for name, argument in image if name == "COPY"] == ["--from=build /opt/venv /opt/venv"]
    assert copied(build) == {
        "constraints.txt",
        "pyproject.toml",
        "README.md",
        "LICENSE",
        "configs",
        "ner_lightning",
    }
    assert all((ROOT / name).exists() for name in copied(build))
    assert not {"ADD", "ARG"} & {name for name, _ in instructions(file)}
    assert VARIABLE not in file.read_text(encoding="utf-8"), "a key in an image is in all its copies"


@pytest.mark.parametrize("file", FILES, ids=lambda f: f.stem)
def test_what_it_installs_is_pinned_and_what_serving_needs(file):
    installed = set()
    for name, argument in stages(file)[0]:
        if name == "RUN" and "pip install" in argument and "--no-deps" not in argument:
            assert "--constraint constraints.txt" in argument
            asked = argument.replace("constraints.txt", "").partition(" install ")[2]
            installed |= {word for word in shlex.split(asked) if not re.match("--|https:", word)}
    page = (ROOT / "docs/export.md").read_text(encoding="utf-8").split("## Inference without the training")[1]
    listed = {*re.findall(r"[`']([\w-]+)>=", page.split("\n## ")[0])} - {"pyarrow"}
    # bitsandbytes is slow on a CPU, and the other two are for CPUs alone.
    other = {"bitsandbytes"} if file.stem.startswith("cpu") else {"onnxruntime", "openvino"}
    assert installed == listed - other
    assert {name.replace("_", "-") for name in installed} <= PINNED


@pytest.mark.parametrize("file", FILES, ids=lambda f: f.stem)
def test_its_commands_are_ours(file):
    image = stages(file)[1]
    command, subcommand, *options = words(image, "ENTRYPOINT")
    assert (command, subcommand) == ("ner-lightning", "serve")
    read = parser().parse_args([*options, *words(image, "CMD")])
    assert (read.host, read.run) == ("0.0.0.0", ["/model"])
    assert str(read.port) == dict(image)["EXPOSE"]
    python, option, code = words(image, "HEALTHCHECK")
    assert (python, option) == ("python", "-c")
    compile(code, "healthcheck", "exec")
    (path,) = re.findall(rf"http://127\.0\.0\.1:{read.port}(/\w+)'", code)
    assert path in OPEN


def test_compose_builds_both_with_a_key_and_lets_requests_finish():
    text = (ROOT / "docker/compose.yaml").read_text(encoding="utf-8")
    services = yaml.safe_load(text)["services"]
    assert set(services) == {"cpu", "gpu"}
    known = {
        "build", "cap_drop", "deploy", "environment", "image", "ports", "profiles", "read_only", "restart",
        "security_opt", "stop_grace_period", "tmpfs", "volumes",
    }  # fmt: skip
    for name, service in services.items():
        assert set(service) <= known
        build = service["build"]
        assert (ROOT / "docker" / build["context"]).resolve() == ROOT
        assert ROOT / build["dockerfile"] in FILES
        assert service["image"] == f"ner-lightning:{name}"
        assert service["environment"][VARIABLE].startswith(f"${{{VARIABLE}:?"), (
            "without a key it does not start"
        )
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])
        assert all(volume.endswith(":/model:ro") for volume in service["volumes"])
        seconds = 60 * int(re.fullmatch(r"(\d+)m", service["stop_grace_period"])[1])
        default = parser().parse_args([])
        assert seconds > default.timeout + default.drain + 15
    assert "devices" in services["gpu"]["deploy"]["resources"]["reservations"]


def test_the_build_sees_the_package_alone():
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    rules = [line for line in lines if not line.startswith("#")]
    assert rules[0] == "*"
    needed = {
        word for name, argument in stages(FILES[0])[0] if name == "COPY" for word in argument.split()[:-1]
    }
    assert {rule[1:] for rule in rules if rule.startswith("!")} == needed
    assert {"**/*.safetensors", "**/*.gguf", "**/*.ckpt"} <= set(rules)


def test_the_commands_that_are_shown_name_these_files():
    shown = (ROOT / "docs/container.md").read_text(encoding="utf-8")
    for file in (*FILES, ROOT / "docker/compose.yaml"):
        text = file.read_text(encoding="utf-8")
        (first,) = re.findall(rf"--file (docker/{re.escape(file.name)}) ", text)
        assert (ROOT / first).samefile(file)
        shown += text
    names = {*re.findall(r"--file (\S+)", shown)}
    assert names == {"docker/cpu.Dockerfile", "docker/gpu.Dockerfile", "docker/compose.yaml"}
    (options,) = re.findall(r"ner-lightning:[cg]pu (/model .*)`", shown)
    assert parser().parse_args(shlex.split(options)).workers == 2
