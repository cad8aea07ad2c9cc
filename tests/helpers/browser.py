"""A real browser without a window, spoken to over its debugging pipe: no server, no driver, no port."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import Any

import pytest

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_browser = pytest.mark.skipif(BROWSER is None, reason="needs Chromium, which is not installed")
_COMPLAINTS = {"Runtime.exceptionThrown", "Log.entryAdded"}
_OURS = ("file:", "data:", "about:")
_AS_THREE_AND_FOUR = """
import fcntl, os, sys
ends = [fcntl.fcntl(int(end), fcntl.F_DUPFD, 10) for end in sys.argv[1:3]]
for end, place in zip(ends, (3, 4)):
    os.dup2(end, place)
os.execv(sys.argv[3], sys.argv[3:])
"""
"""Where the browser expects its pipe, whatever numbers the ends have here."""


class Browser:
    """One page of a browser, and what it complained of or asked for."""

    def __init__(self, to: int, answering: BufferedReader) -> None:
        self._to, self._from = to, answering
        self._number, self._waiting = 0, b""
        self._session = ""
        self.complaints: list[str] = []
        """Errors and warnings of the page's console and of its scripts."""
        self.requests: list[str] = []
        """What it asked for beyond its own file."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **arguments: Any) -> dict[str, Any]:
        """Call a method of the debugging protocol and return its result."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": arguments}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]

    def open(self, path: Path, *, fragment: str = "", width: int = 1280, height: int = 900) -> None:
        """Open a file as a user would from disk, in a window of some size, and wait until it is there."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self.call("Page.navigate", url="about:blank")
        self.call("Page.navigate", url=f"{path.resolve().as_uri()}{fragment}")
        self.run("new Promise(done => document.readyState === 'complete' ? done() : addEventListener('load', done))")

    def run(self, script: str) -> Any:
        """Run a script in the page, wait for what it promises, and return that."""
        done = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in done, done["exceptionDetails"]
        return done["result"].get("value")

    def picture(self, file: Path, *, whole: bool = False) -> None:
        """Write what is seen as a PNG."""
        shot = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        file.write_bytes(base64.b64decode(shot["data"]))

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._waiting:
            more = self._from.read1(1 << 20)
            assert more, "the browser ended"
            self._waiting += more
        message, _, self._waiting = self._waiting.partition(b"\0")
        told: dict[str, Any] = json.loads(message)
        self._note(told.get("method", ""), told.get("params", {}))
        return told

    def _note(self, method: str, told: dict[str, Any]) -> None:
        if method in _COMPLAINTS or (method == "Runtime.consoleAPICalled" and told["type"] in ("error", "warning")):
            self.complaints.append(json.dumps(told)[:1000])
        url = told.get("request", {}).get("url", "") if method == "Network.requestWillBeSent" else ""
        if url and not url.startswith(_OURS):
            self.requests.append(url)


@contextmanager
def browsing(folder: Path) -> Iterator[Browser]:
    """Give a browser whose profile is in a folder, and end it."""
    assert BROWSER
    reads, writes = os.pipe()
    answers, says = os.pipe()

    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe"]
    command += ["--no-first-run", "--disable-background-networking", "--disable-dev-shm-usage"]
    process = subprocess.Popen(
        [sys.executable, "-c", _AS_THREE_AND_FOUR, str(reads), str(says), *command, f"--user-data-dir={folder}"],
        pass_fds=(reads, says),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(reads)
    os.close(says)
    try:
        with os.fdopen(answers, "rb") as answering:
            yield Browser(writes, answering)
    finally:
        process.kill()
        process.wait()
        os.close(writes)
