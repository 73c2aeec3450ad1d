"""Where `predict` writes: never to what it reads, nor into a folder that it reads, here or elsewhere."""

import argparse
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from urllib.parse import urlsplit

from ner_lightning.commands.prediction.predict_checks import STANDARD_OUTPUT
from ner_lightning.data.readers.remote_files import filesystem_of, is_remote
from ner_lightning.errors import UserError
from ner_lightning.system.atomic import is_written_through
from ner_lightning.system.output_checks import check_not_an_input


def staged(address: str) -> str:
    """The file in the working folder that collects a remote output; each address has its own.

    Raises:
        UserError: pyarrow opens no such filesystem.
    """
    filesystem_of(address)
    name = address.rpartition("/")[2]
    return f"upload.{sha256(address.encode()).hexdigest()[:8]}.{name}"


def staged_output(options: argparse.Namespace) -> str | None:
    """The remote address of the output, which is collected in a file in the working folder; None if local."""
    if not is_remote(options.output):
        return None
    address: str = options.output
    options.output = staged(address)
    return address


def local_place(address: str) -> Path | None:
    """The path of an output on this machine, also of `file:///folder/name`; None if it is elsewhere."""
    filesystem, path = _place(address)
    return None if filesystem else path


def rejects_file(options: argparse.Namespace) -> Path | None:
    """The file of rejects: the one that is named, or the one beside an output that can be resumed."""
    if options.rejects:
        return Path(options.rejects)
    if options.output in (None, STANDARD_OUTPUT) or is_written_through(options.output):
        return None
    output = Path(options.output)
    return output.with_name(f"{output.name}.rejects.jsonl")


def check_written(options: argparse.Namespace, files: Iterable[Path], remote: Iterable[str]) -> None:
    """Checks that nothing that is written is read, by this command or when it is given again.

    Args:
        options: those of the command.
        files: the local files of the input.
        remote: the paths of its files that are elsewhere.

    Raises:
        UserError: an output is among the input or in a folder that is read, or two are the same file.
    """
    rejects = rejects_file(options)
    outputs = {"output": options.upload or options.output, "rejects": rejects and str(rejects)}
    places = {name: _place(each) for name, each in outputs.items() if each not in (None, STANDARD_OUTPUT)}
    if options.rejects and len(places) > 1:
        collected = [_place(options.output + end) for end in ("", ".partial", ".partial.json")]
        if places["rejects"] in (places["output"], *collected):
            raise UserError(f"--rejects {options.rejects} is the --output as well; name another file")
    if options.input in (None, STANDARD_OUTPUT):
        return
    filesystem, source = _place(options.input)
    read = [*files, *map(Path, remote)]
    for name, (where, file) in places.items():
        if where != filesystem:
            continue
        if where and file in read:
            raise UserError(f"--{name} {outputs[name]} is what is read; name another one")
        if not where:
            check_not_an_input(file, read, f"--{name} {outputs[name]}")
        is_named = name == "output" or options.rejects
        if is_named and _is_in(file, source):
            raise UserError(
                f"--{name} {outputs[name]} is in {options.input}, whose files are all read;\n"
                "name a file outside this folder"
            )
    if options.upload and not filesystem and _is_in(Path(options.output).resolve(), source):
        raise UserError(
            f"the output is collected in the working folder, which is in {options.input},\n"
            "whose files are all read; run the command in another folder"
        )


def _place(address: str) -> tuple[str, Path]:
    """The filesystem of an address, empty if it is that of this machine, and the path in it."""
    if not is_remote(address):
        return "", Path(address).resolve()
    filesystem, path = filesystem_of(address)
    if filesystem.type_name == "local":
        return "", Path(path).resolve()
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc}?{parts.query}", Path(path)


def _is_in(file: Path, folder: Path) -> bool:
    """Whether a file is in a folder, and not hidden there."""
    inside = file.relative_to(folder).parts if folder in file.parents else ()
    return bool(inside) and not any(part.startswith(".") for part in inside)
