"""Drives headless Chromium over a pipe, in its own protocol; nothing but Chromium is needed."""

import base64
import itertools
import json
import os
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--no-default-browser-check",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)


class Page:
    """A tab: commands go out, and what it says meanwhile is kept in `events`."""

    def __init__(self, out, back):
        self.out, self.back = out, back
        self.numbers = itertools.count(1)
        self.session = None
        self.events = []
        self.buffer = b""

    def __call__(self, method, **parameters):
        number = next(self.numbers)
        message = {"id": number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        self.out.write(json.dumps(message).encode() + b"\0")
        self.out.flush()
        while True:
            answer = self._read()
            if answer.get("id") == number:
                assert "error" not in answer, answer
                return answer["result"]
            self.events.append(answer)

    def _read(self):
        while b"\0" not in self.buffer:
            part = os.read(self.back, 1 << 16)
            assert part, "Chromium has gone"
            self.buffer += part
        text, _, self.buffer = self.buffer.partition(b"\0")
        return json.loads(text)

    def open(self, file, width=1280, height=900, phone=False):
        self.resize(width, height, phone)
        self("Page.navigate", url=Path(file).resolve().as_uri())
        while not any(e.get("method") == "Page.loadEventFired" for e in self.events):
            self.events.append(self._read())

    def resize(self, width, height, phone=False):
        self(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=phone,
        )

    def run(self, script):
        """The value of a script."""
        result = self("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def press(self, key):
        for kind in ("rawKeyDown", "keyUp"):
            code = {"Tab": 9, "ArrowDown": 40, "Enter": 13}[key]
            self("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code)

    def picture(self, file, whole=False):
        shot = self("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        Path(file).write_bytes(base64.b64decode(shot["data"]))

    def complaints(self):
        """Console errors, exceptions, and whatever was asked of any network."""
        found = []
        for event in self.events:
            method, said = event.get("method"), event.get("params", {})
            if method == "Runtime.exceptionThrown":
                found.append(said["exceptionDetails"])
            elif method == "Runtime.consoleAPICalled" and said["type"] in {"error", "warning", "assert"}:
                found.append(said)
            elif method == "Log.entryAdded" and said["entry"]["level"] in {"error", "warning"}:
                found.append(said["entry"])
            elif method == "Network.requestWillBeSent":
                address = said["request"]["url"]
                if not address.startswith(("file:", "data:")):
                    found.append(address)
        return found


@contextmanager
def chromium():
    """A fresh browser with one tab."""
    program = shutil.which("chromium")
    assert program, "there is no chromium: make setup-browser installs it"
    to_browser, out = os.pipe()
    back, from_browser = os.pipe()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        # The shell puts the two pipes where Chromium looks for them.
        command = f'exec "$@" 3<&{to_browser} 4>&{from_browser}'
        process = subprocess.Popen(
            ["bash", "-c", command, "chromium", program, *FLAGS, f"--user-data-dir={folder}"],
            pass_fds=(to_browser, from_browser),
            stderr=subprocess.DEVNULL,
        )
        os.close(to_browser)
        os.close(from_browser)
        stream = os.fdopen(out, "wb")
        try:
            page = Page(stream, back)
            target = page("Target.createTarget", url="about:blank")["targetId"]
            page.session = page("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
            for domain in ("Page", "Runtime", "Log", "Network"):
                page(f"{domain}.enable")
            yield page
        finally:
            stream.close()
            os.close(back)
            process.terminate()
            process.wait(timeout=20)
