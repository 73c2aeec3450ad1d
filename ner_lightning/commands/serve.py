"""`ner-lightning serve`: a trained tagger that answers over HTTP."""

import argparse
import os
import re
import socket
import sys
from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from ner_lightning.commands.options.command_line import Parser, check_device, check_selection
from ner_lightning.commands.taggers.several_taggers import load_group
from ner_lightning.commands.taggers.tagger_loading import load_tagger
from ner_lightning.errors import UserError
from ner_lightning.runs.folder import run_path
from ner_lightning.serving.memory import Trimmer, limit_kernel_caches
from ner_lightning.system.child_process import cores_each
from ner_lightning.system.progress import printed
from ner_lightning.system.terminal import printable

if TYPE_CHECKING:
    from ner_lightning.inference.result import Tagged
    from ner_lightning.serving.app import RequestLimits

INSTALL = "pip install 'ner-lightning[serve]'"
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
    from ner_lightning.system.ranges import NonNegativeInt, Port, PositiveFloat, PositiveInt, check_options

    check_options(
        options,
        **dict.fromkeys(LIMITS, PositiveInt),
        workers=PositiveInt,
        drain=NonNegativeInt,
        temperature=PositiveFloat,
        port=Port,
    )
    check_selection(options)
    _check_origins(options.cors)
    options.api_key = _api_key(options)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    limit_kernel_caches()  # before torch is loaded
    check_device(options)
    with listening(options.host, options.port) as listener:
        if options.workers == 1:
            _answer(options, listener, partial(_announce, listener))
        elif code := _run_workers(options, listener):
            raise SystemExit(code)


def _check_origins(origins: Sequence[str]) -> None:
    for origin in origins:
        if origin != "*" and not re.fullmatch(r"https?://[^/\s?#]+", origin):
            raise UserError(
                f"--cors {origin} is not an origin: name it as the browser does, such as https://app.example "
                "or http://localhost:3000,\nwithout a path; RUN goes before --cors"
            )


def _api_key(options: argparse.Namespace) -> str | None:
    """The key that requests must name, of the option or the environment."""
    from ner_lightning.serving.access import VARIABLE, checked_key

    if options.api_key is not None:
        return checked_key(options.api_key, "--api_key")
    return checked_key(os.environ[VARIABLE], VARIABLE) if VARIABLE in os.environ else None


def _run_workers(options: argparse.Namespace, listener: socket.socket) -> int:
    """Runs several processes that answer at one port; returns the exit code."""
    from ner_lightning.serving.workers import Workers

    os.environ.setdefault("OMP_NUM_THREADS", str(cores_each(options.workers)))
    with TemporaryDirectory(prefix="ner-lightning-") as counts:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = counts
        try:
            grace = options.drain + options.timeout + 15
            workers = Workers(_work, (options, listener), options.workers, grace)
            return workers.run(partial(_announce, listener), listener.close)
        finally:
            del os.environ["PROMETHEUS_MULTIPROC_DIR"]


def _work(options: argparse.Namespace, listener: socket.socket, on_start: Callable[[], None]) -> None:
    """A worker of several; it prints a user's mistake itself."""
    try:
        _answer(options, listener, on_start)
    except UserError as error:
        sys.stderr.write(f"ner-lightning: {printable(str(error), keep=chr(10))}\n")
        raise SystemExit(2) from None


def _answer(options: argparse.Namespace, listener: socket.socket, on_start: Callable[[], None]) -> None:
    """Loads the tagger, and answers until the process is told to stop."""
    with printed("stderr"):
        # Here, not above: `--help` must not wait for torch.
        from ner_lightning.serving.request_log import show_requests
        from ner_lightning.serving.server import GracefulServer

        show_requests(every=options.log_requests)
        app = service(options)
        GracefulServer(app, options.timeout, options.drain, on_start).run(sockets=[listener])


def _announce(listener: socket.socket) -> None:
    host, port = listener.getsockname()[:2]
    shown_host = f"[{host}]" if ":" in host else host
    sys.stderr.write(f"Serving on http://{shown_host}:{port}, described at /docs; Ctrl-C stops it.\n")
    sys.stderr.flush()


def service(options: argparse.Namespace) -> Any:
    """The application around the tagger of RUN."""
    from ner_lightning.export.facts import example_text
    from ner_lightning.serving.app import RequestLimits, make_app
    from ner_lightning.serving.examples import TEXT

    fields = {field: getattr(options, option) for option, (field, _, _) in LIMITS.items()}
    limits = RequestLimits(**fields, origins=tuple(options.cors))
    if len(options.run) > 1 or options.group:
        return _of_several(options, limits)
    options.run = next(iter(options.run), None)
    tagger, trim = load_tagger(options, bulk=False), Trimmer()
    text = example_text(options.run, Path(options.runs), tagger.labels.types)
    # The first call compiles kernels and reserves memory, so it is slower than others.
    tagged = tagger(text or TEXT)

    def tag(texts: list[str], **selected: Any) -> "list[Tagged]":
        results = tagger(texts, **selected)
        trim()
        return results

    run = run_path(options.run, Path(options.runs)).resolve()
    return make_app(
        tag,
        model="/".join(run.parts[-2:]),
        labels=tagger.labels.types,
        limits=limits,
        selected=tagger.selection,
        api_key=options.api_key,
        example=tagged if text else None,
    )


def _of_several(options: argparse.Namespace, limits: "RequestLimits") -> Any:
    """The application around the taggers of several RUNs."""
    from ner_lightning.analysis.example_text import made_text
    from ner_lightning.serving.app import make_app
    from ner_lightning.serving.examples import TEXT
    from ner_lightning.serving.taggers import NO_KEY, SEVERAL_WORKERS, ServedTaggers

    if options.temperature is not None:
        raise UserError("--temperature is for one RUN; export each with its own: `export --temperature T`")
    if options.backbone is not None:
        raise UserError("--backbone is for one RUN; export each where its backbone is")
    if options.engine != "auto":
        raise UserError("--engine is for one RUN; each of several takes its own")
    group, trim = load_group(options), Trimmer()
    text = made_text(group[next(iter(group))].labels.types)
    tagged = group.tag([(name, text or TEXT) for name in group])
    fixed = NO_KEY if options.api_key is None else SEVERAL_WORKERS if options.workers > 1 else None
    taggers = ServedTaggers(group, fixed)

    def tag(items: list[tuple[str, str]], **selected: Any) -> "list[Tagged]":
        results = taggers.group.tag(items, **selected)
        trim()
        return results

    first = group[taggers.default]
    return make_app(
        tag,
        model=taggers.default,
        labels=first.labels.types,
        limits=limits,
        api_key=options.api_key,
        taggers=taggers,
        example=tagged[0] if text else None,
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
    parser.add_run(nargs="*", text="run, checkpoint or exported folder (default: the last run); or several")
    add = parser.add_argument
    add("--group", action="store_true", help="a service to which taggers can be added, also with one RUN")
    add("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1, local requests only)")
    add("--port", type=int, default=8000, help="port (default: 8000; 0 takes a free one)")
    for option, (_, default, text) in LIMITS.items():
        add(f"--{option}", type=int, default=default, metavar="N", help=f"{text} ({default:,})")
    add("--workers", type=int, default=1, metavar="N", help="processes, each with a model of its own (1)")
    add(
        "--api_key",
        metavar="KEY",
        help="key that requests must name; safer as NER_LIGHTNING_API_KEY",
    )
    add(
        "--cors",
        nargs="+",
        default=[],
        metavar="ORIGIN",
        help="answer to pages of these origins, such as https://app.example; * for all (default: none)",
    )
    add("--log_requests", action="store_true", help="log a line for each request, without its text")
    add("--drain", type=int, default=0, metavar="N", help="seconds from SIGTERM to closing the port (0)")
    add("--temperature", type=float, metavar="T", help="divide scores by it; `predict --calibrate` finds it")
    parser.add_selection()
    parser.add_backbone()
    parser.add_device()
    parser.add_engine("one sentence")
    parser.add_trust()
    return parser
