"""`ner-lightning serve`: a trained tagger that answers over HTTP."""

import os
import signal
import socket
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from ner_lightning.commands.options import Parser, add_run, add_trust
from ner_lightning.errors import UserError
from ner_lightning.serving.memory import Trimmer, limit_kernel_caches
from ner_lightning.system.progress import shown

if TYPE_CHECKING:
    from ner_lightning.inference.result import Tagged


INSTALL = "pip install 'ner-lightning[serve]'"
BACKLOG = 2048  # connections that wait to be accepted
LIMITS = {
    "body_limit": ("body", 1_000_000, "most bytes of a request's body"),
    "text_limit": ("characters", 100_000, "most characters of a request's texts together"),
    "queue": ("waiting", 128, "most requests that wait; one more is answered 429"),
    "timeout": ("seconds", 30, "seconds that a request may take, its waiting included"),
}


def run(subcommand: str, args: Sequence[str]) -> None:
    """Runs the service until it is told to stop.

    Raises:
        UserError: an option or the run is not as it must be, or the address is taken.
    """
    options = parser(subcommand).parse_args(args)
    lacking = [name for name in ("fastapi", "uvicorn", "prometheus_client") if find_spec(name) is None]
    if lacking:
        raise UserError(f"serve needs {' and '.join(lacking)}, which is not installed.\nInstall: {INSTALL}")
    from ner_lightning.system.ranges import Port, PositiveFloat, PositiveInt, check_options

    check_options(options, **dict.fromkeys(LIMITS, PositiveInt), temperature=PositiveFloat, port=Port)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    limit_kernel_caches()  # before torch is loaded
    if options.device is not None:
        from ner_lightning.model.devices import chosen_device

        chosen_device(options.device)
    with listening(options.host, options.port) as door, shown("stderr"):
        # Here, not above: `--help` must not wait for torch.
        import uvicorn

        from ner_lightning.inference.ner_tagger import NERTagger
        from ner_lightning.serving.app import Limits, make_app

        tagger = NERTagger.from_run(
            options.run,
            root=options.runs,
            device=options.device,
            trust_remote_code=options.trust_remote_code,
        )
        if options.temperature is not None:
            tagger.temperature = options.temperature
        place = Path(options.run or Path(options.runs) / "last").resolve()
        trim = Trimmer()

        def work(texts: list[str]) -> "list[Tagged]":
            found = tagger(texts)
            trim()
            return found

        app = make_app(
            work,
            model="/".join(place.parts[-2:]),
            labels=tagger.labels.types,
            limits=Limits(**{field: getattr(options, option) for option, (field, _, _) in LIMITS.items()}),
        )
        config = uvicorn.Config(
            app, log_level="warning", access_log=False, timeout_graceful_shutdown=options.timeout + 5
        )
        # uvicorn finishes what it has begun, then sends itself the signal again: that shall end nothing.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, _done)
        door.listen(BACKLOG)  # whoever reads the next line can connect; uvicorn answers in a moment
        host, port = door.getsockname()[:2]
        shown_host = f"[{host}]" if ":" in host else host
        sys.stderr.write(f"Serving on http://{shown_host}:{port}, described at /docs; Ctrl-C stops it.\n")
        sys.stderr.flush()
        uvicorn.Server(config).run(sockets=[door])


def listening(host: str, port: int) -> socket.socket:
    """The socket that requests come in at, taken before anything is loaded.

    Raises:
        UserError: the address is taken, or is none of this machine's.
    """
    door = None
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        door = socket.socket(family, kind, protocol)
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        door.bind(address)
    except OSError as error:
        if door is not None:
            door.close()
        reason = (error.strerror or str(error)).lower()
        raise UserError(
            f"--host {host} --port {port} cannot be listened on: {reason}; name another"
        ) from None
    return door


def _done(number: int, frame: FrameType | None) -> None:
    """Takes no notice of a signal that has been heeded already."""


def parser(name: str = "serve") -> Parser:
    """The command's options."""
    found = Parser(
        prog=f"ner-lightning {name}",
        description="Answers over HTTP: text in, entities out; and a page to try it.",
    )
    add_run(found)
    found.add_argument(
        "--host", default="127.0.0.1", help="address to listen on (default: this machine alone, 127.0.0.1)"
    )
    found.add_argument("--port", type=int, default=8000, help="port (default: 8000; 0 takes a free one)")
    for option, (_, default, text) in LIMITS.items():
        found.add_argument(
            f"--{option}", type=int, default=default, metavar="N", help=f"{text} ({default:,})"
        )
    found.add_argument(
        "--temperature", type=float, help="divide scores by it; `predict --calibrate` finds it"
    )
    found.add_argument("--device", help="cpu, cuda, cuda:N or mps (default: a CUDA GPU if there is one)")
    add_trust(found)
    return found
