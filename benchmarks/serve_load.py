"""The service under load, its clients on the same machine: python benchmarks/serve_load.py [RUN ...].

Clients that each wait for their answer send texts of mixed sizes, and some malformed bodies among them;
beside it the rate of the same tagger on the same mix without a service, before and after. Of several runs
each request names one at random, and beside them, in alternating order, is a service of the first one alone.
A rate is that from the first request to the last answer. Exit code 1 if any answer is a 5xx, or a malformed
body gets anything but a 4xx with a reason.
"""

import argparse
import asyncio
import gc
import json
import random
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import measure

from ner_lightning.data.readers.sentences import read_sentences
from ner_lightning.inference.ner_tagger import NERTagger

# Sentences in a text, and how often.
SIZES = {1: 50, 3: 25, 8: 15, 20: 10}
RATE, RATE_OF_ONE = "characters/s", "one tagger, characters/s"
HEAD = "POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
MALFORMED: tuple[bytes, ...] = (
    b'{"text": "cut of',
    b'{"txt": "another field"}',
    b'{"text": 5}',
    b'{"text": "a", "texts": ["b"]}',
    b'{"text": "\xff\xfe"}',
    b"[1, 2]",
    json.dumps({"text": "x" * 150_000}).encode(),
)


@dataclass
class Seen:
    """What the clients saw."""

    seconds: list[float] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)
    characters: int = 0
    wrong: list[str] = field(default_factory=list)
    memory: list[int] = field(default_factory=list)  # of the service, in bytes, every second
    elapsed: float = 0.0  # seconds from the first request to the last answer


class Mix:
    """Bodies of requests, drawn at random.

    Args:
        sentences: to make texts of.
        malformed: share of malformed bodies.
        seed: of the draws.
        taggers: how many the service has.
    """

    def __init__(self, sentences: Sequence[str], malformed: float, seed: int, taggers: int = 1) -> None:
        self.sentences, self.malformed, self.draw = sentences, malformed, random.Random(seed)
        self.taggers = taggers

    def path(self) -> str:
        """Where a request goes."""
        return f"/extract?tagger=t{self.draw.randrange(self.taggers)}" if self.taggers > 1 else "/extract"

    def text(self) -> str:
        """A text of some sentences in a row."""
        (size,) = self.draw.choices(list(SIZES), list(SIZES.values()))
        begin = self.draw.randrange(max(1, len(self.sentences) - size))
        return " ".join(self.sentences[begin : begin + size])

    def body(self) -> tuple[bytes, int]:
        """A body, and the characters of its text; 0 if it is malformed."""
        if self.draw.random() < self.malformed:
            return self.draw.choice(MALFORMED), 0
        text = self.text()
        return json.dumps({"text": text}).encode(), len(text)


async def client(port: int, mix: Mix, until: float, seen: Seen) -> None:
    """Sends one request after the other, over connections that are kept open."""
    reader = writer = None
    while time.perf_counter() < until:
        body, characters = mix.body()
        if reader is None or writer is None:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
        head = f"{HEAD.format(path=mix.path())}Content-Length: {len(body)}\r\n\r\n"
        began = time.perf_counter()
        writer.write(head.encode() + body)
        lines = (await reader.readuntil(b"\r\n\r\n")).decode().lower().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines[1:] if line)
        answer = json.loads(await reader.readexactly(int(headers["content-length"])))
        took = time.perf_counter() - began
        status = int(lines[0].split()[1])
        if headers.get("connection") == "close":
            writer.close()
            reader = writer = None
        seen.statuses[f"{status // 100}xx to {'a text' if characters else 'a malformed body'}"] += 1
        if characters:
            seen.seconds.append(took)
            seen.characters += characters
        expected = status == 200 if characters else 400 <= status < 500 and bool(answer.get("error"))
        if not expected:
            seen.wrong.append(f"{status} {str(answer)[:100]}")
    if writer is not None:
        writer.close()


async def load(port: int, mixes: Sequence[Mix], seconds: float, process: int) -> Seen:
    """Runs all clients, and samples the service's memory every second; returns what they saw."""
    seen, began = Seen(), time.perf_counter()
    clients = asyncio.gather(*(client(port, mix, began + seconds, seen) for mix in mixes))
    while not clients.done():
        seen.memory.append(resident(process))
        await asyncio.wait([clients], timeout=1)
    await clients
    seen.elapsed = time.perf_counter() - began
    return seen


def resident(process: int) -> int:
    """Memory of a process in bytes."""
    pages = Path(f"/proc/{process}/statm").read_text().split()[1]
    return int(pages) * 4096


def offline(run: str | None, mix: Mix, seconds: float) -> float:
    """Characters a second of the tagger alone, in calls as large as the service's full batches."""
    tagger = NERTagger.from_run(run)
    tagger([mix.text() for _ in range(8)])
    done, began = 0, time.perf_counter()
    while (passed := time.perf_counter() - began) < seconds:
        texts = [mix.text() for _ in range(32)]
        tagger(texts)
        done += sum(map(len, texts))
    del tagger
    gc.collect()
    return done / passed


def start(runs: Sequence[str]) -> tuple[subprocess.Popen[str], int]:
    """The service, on a free port."""
    named = [f"t{number}={run}" for number, run in enumerate(runs)] if len(runs) > 1 else runs
    command = [sys.executable, "-m", "ner_lightning", "serve", *named, "--port", "0"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if "http://" in line:
            return process, int(line.split("http://")[1].split(":")[1].split(",")[0])
    raise RuntimeError("the service did not start")


def served(runs: Sequence[str], sentences: Sequence[str], options: argparse.Namespace) -> Seen:
    """What clients see of a service, which is started and stopped."""
    process, port = start(runs)
    try:
        seeds = range(options.clients)
        mixes = [Mix(sentences, options.malformed, seed, max(1, len(runs))) for seed in seeds]
        seen = asyncio.run(load(port, mixes, options.seconds, process.pid))
    finally:
        process.terminate()
        code = process.wait(timeout=60)
        assert process.stderr is not None
        process.stderr.close()
    if code:
        seen.wrong.append(f"exit code {code}")
    print(dict(seen.statuses), *seen.wrong[:5], sep="\n")
    return seen


def main(args: Sequence[str] | None = None) -> int:
    """Measures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument(
        "runs", nargs="*", help="run folders, checkpoints or exported folders (default: the last run)"
    )
    parser.add_argument("--data", type=Path, default=measure.DATA, help="a folder with valid.txt")
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--offline_seconds", type=float, default=15, help="before, and again after")
    parser.add_argument("--malformed", type=float, default=0.05, help="share of malformed bodies")
    parser.add_argument("--rounds", type=int, default=1)
    measure.add_record_option(parser)
    words = list(sys.argv[1:] if args is None else args)
    options = parser.parse_args(words)
    sentences = [" ".join(s.words) for s in read_sentences(str(options.data / "valid.txt"))]
    first = next(iter(options.runs), None)
    every: list[Seen] = []
    beside: list[Seen] = []

    def rate(runs: Sequence[str], kept: list[Seen]) -> float:
        kept.append(served(runs, sentences, options))
        return kept[-1].characters / kept[-1].elapsed

    sides = {RATE: partial(rate, options.runs, every)}
    if len(options.runs) > 1:
        sides[RATE_OF_ONE] = partial(rate, options.runs[:1], beside)
    alone = [offline(first, Mix(sentences, 0, 1), options.offline_seconds)]
    found = measure.alternate(sides, options.rounds)
    alone.append(offline(first, Mix(sentences, 0, 2), options.offline_seconds))
    if len(options.runs) > 1:
        found["times the rate of one tagger"] = measure.ratio(found, RATE, RATE_OF_ONE)
    measure.report(
        found | details(every, alone, statistics.median(found[RATE])),
        kind="service under load" if len(options.runs) < 2 else "taggers under load",
        script="serve_load.py",
        words=[w for w in words if w not in options.runs],
        record=options.record,
        data=measure.described(options.data, "valid"),
    )
    return int(any(seen.wrong for seen in every + beside))


def details(every: Sequence[Seen], alone: Sequence[float], rate: float) -> measure.Rounds:
    """Further figures of a service in some rounds, beside the rates of a tagger without one."""
    cuts = [statistics.quantiles(seen.seconds, n=100) for seen in every]
    found = {f"p{share}, ms": [1000 * each[share - 1] for each in cuts] for share in (50, 95, 99)}
    fifth = max(1, len(every[0].memory) // 5)  # a batch takes some hundred MB for itself: peaks are compared
    return found | {
        "texts/s": [len(seen.seconds) / seen.elapsed for seen in every],
        "offline, characters/s": list(alone),
        "share of the offline rate": [rate / value for value in alone],
        "malformed bodies": [float(seen.statuses["4xx to a malformed body"]) for seen in every],
        "answers that should not be": [float(len(seen.wrong)) for seen in every],
        "peak memory in the second fifth of the time, MB": [
            max(seen.memory[fifth : 2 * fifth]) / 1e6 for seen in every
        ],
        "peak memory in the last fifth, MB": [max(seen.memory[-fifth:]) / 1e6 for seen in every],
    }


if __name__ == "__main__":
    sys.exit(main())
