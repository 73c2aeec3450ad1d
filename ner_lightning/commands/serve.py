"""`ner-lightning serve`: a trained tagger that answers over HTTP."""

import argparse
import os
import signal
import socket
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ner_lightning.commands.options import Parser, check_device, check_selection, load_tagger
from ner_lightning.errors import UserError
from ner_lightning.serving.memory import Trimmer, limit_kernel_caches
from ner_lightning.system.progress import shown

if TYPE_CHECKING:
    from ner_lightning.inference.result import Tagged


INSTALL = "pip install 'ner-lightning[serve]'"
BACKLOG = 2048  # connections that wait to be accepted
LIMITS = {
    "body_limit": ("body", 1_000_000, "largest request body, in bytes"),
    "text_limit": ("characters", 100_000, "most characters in a request, over all its texts"),
    "queue": ("waiting", 128, "most waiting requests; further ones get status 429"),
    "timeout": ("seconds", 30, "seconds that a request may take, waiting included"),
}


def run(subcommand: str, args: Sequence[str]) -> None:
    """Runs the service until it is told to stop; raises UserError at a user's mistake."""
    options = parser(subcommand).parse_args(args)
    missing = [name for name in ("fastapi", "uvicorn", "prometheus_client") if find_spec(name) is None]
    if missing:
        raise UserError(f"serve needs {' and '.join(missing)}, which is not installed.\nInstall: {INSTALL}")
    from ner_lightning.system.ranges import Port, PositiveFloat, PositiveInt, check_options

    check_options(options, **dict.fromkeys(LIMITS, PositiveInt), temperature=PositiveFloat, port=Port)
    check_selection(options)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    limit_kernel_caches()  # before torch is loaded
    check_device(options)
    with listening(options.host, options.port) as listener, shown("stderr"):
        # Here, not above: `--help` must not wait for torch.
        import uvicorn

        config = uvicorn.Config(
            _app(options),
            log_level="warning",
            access_log=False,
            timeout_graceful_shutdown=options.timeout + 5,
        )
        # uvicorn finishes its requests, then sends itself the signal again: that must not end the process.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: None)
        listener.listen(BACKLOG)  # before the next line is printed, so that its reader can connect
        host, port = listener.getsockname()[:2]
        shown_host = f"[{host}]" if ":" in host else host
        sys.stderr.write(f"Serving on http://{shown_host}:{port}, described at /docs; Ctrl-C stops it.\n")
        sys.stderr.flush()
        uvicorn.Server(config).run(sockets=[listener])


def _app(options: argparse.Namespace) -> Any:
    """The application around the tagger of RUN."""
    from ner_lightning.serving.app import RequestLimits, make_app

    tagger, trim = load_tagger(options), Trimmer()

    def tag(texts: list[str], **selected: Any) -> "list[Tagged]":
        results = tagger(texts, **selected)
        trim()
        return results

    run = Path(options.run or Path(options.runs) / "last").resolve()
    limits = RequestLimits(**{field: getattr(options, option) for option, (field, _, _) in LIMITS.items()})
    return make_app(
        tag,
        model="/".join(run.parts[-2:]),
        labels=tagger.labels.types,
        limits=limits,
        selected=tagger.selection,
    )


def listening(host: str, port: int) -> socket.socket:
    """A socket bound to the address, before anything is loaded.

    Raises:
        UserError: the address is taken, or is not this machine's.
    """
    listener = None
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        if listener is not None:
            listener.close()
        reason = (error.strerror or str(error)).lower()
        raise UserError(
            f"--host {host} --port {port} cannot be listened on: {reason}; name another"
        ) from None
    return listener


def parser(name: str = "serve") -> Parser:
    """The command's options."""
    parser = Parser(name, "Answers over HTTP: text in, entities out; and a page to try it.")
    parser.add_run()
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1, local requests only)")
    add("--port", type=int, default=8000, help="port (default: 8000; 0 takes a free one)")
    for option, (_, default, text) in LIMITS.items():
        add(f"--{option}", type=int, default=default, metavar="N", help=f"{text} ({default:,})")
    add("--temperature", type=float, metavar="T", help="divide scores by it; `predict --calibrate` finds it")
    parser.add_selection()
    parser.add_backbone()
    parser.add_device()
    parser.add_trust()
    return parser
