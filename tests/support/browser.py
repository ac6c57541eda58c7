"""A page in headless Chromium, driven by the DevTools protocol; tests that need it are skipped where it is absent."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

_LIMIT_S = 60.0


class Page:
    """A page that is open in a browser."""

    def __init__(self, address: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._address, self._number = address, 0
        self._origin = "file:"
        self.faults: list[str] = []
        self._session, self._socket = self._run(self._connect())
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def _run(self, work: Any) -> Any:
        return self._loop.run_until_complete(asyncio.wait_for(work, _LIMIT_S))

    async def _connect(self) -> Any:
        session = aiohttp.ClientSession()
        return session, await session.ws_connect(self._address, max_msg_size=0)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Calls a method of the protocol and returns its result."""
        return self._run(self._call(method, parameters))

    async def _call(self, method: str, parameters: dict[str, Any], event: str | None = None) -> dict[str, Any]:
        """Returns the result once it, and `event` if one is named, have come."""
        self._number += 1
        await self._socket.send_json({"id": self._number, "method": method, "params": parameters})
        result: dict[str, Any] | None = None
        while result is None or event is not None:
            message = json.loads((await self._socket.receive()).data)
            if message.get("id") == self._number:
                assert "error" not in message, message
                result = message["result"]
            elif message.get("method") == event:
                event = None
            elif message.get("method") in ("Runtime.exceptionThrown", "Log.entryAdded"):
                self.faults.append(json.dumps(message["params"]))
            elif message.get("method") == "Network.requestWillBeSent":
                url = message["params"]["request"]["url"]
                if not url.startswith(("file:", "data:", self._origin)):
                    self.faults.append(f"asked for {url}")
        return result

    def open(self, page: Path | str, width: int = 1280, is_dark: bool = False) -> None:
        """Opens a file, or the page of a server, which may ask for more of the same, and waits until it is loaded."""
        self._origin = "file:" if isinstance(page, Path) else page
        size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if is_dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self._run(
            self._call(
                "Page.navigate",
                {"url": page.resolve().as_uri() if isinstance(page, Path) else page},
                "Page.loadEventFired",
            )
        )

    def processor_times(self, page: Path) -> Counter[str]:
        """Opens a file, and returns the processor time in ms of each kind of work, such as "Layout"."""
        categories = {"includedCategories": ["devtools.timeline"], "excludedCategories": ["*"]}
        self.call("Tracing.start", transferMode="ReportEvents", traceConfig=categories)
        self.open(page)
        self.ask("new Promise((done) => requestAnimationFrame(() => setTimeout(done, 0)))")
        times: Counter[str] = Counter()
        for event in self._run(self._end_trace()):
            times[event["name"]] += event.get("tdur", 0) / 1000
        return times

    async def _end_trace(self) -> list[dict[str, Any]]:
        self._number += 1
        await self._socket.send_json({"id": self._number, "method": "Tracing.end", "params": {}})
        events: list[dict[str, Any]] = []
        while True:
            message = json.loads((await self._socket.receive()).data)
            if message.get("method") == "Tracing.dataCollected":
                events += message["params"]["value"]
            elif message.get("method") == "Tracing.tracingComplete":
                return events

    def ask(self, expression: str) -> Any:
        """Returns the value of an expression of JavaScript; of a promise, what it comes to."""
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def press(self, key: str) -> None:
        """Presses a key, such as "Tab" or "Enter"."""
        codes = {"Tab": 9, "Enter": 13}
        text = {"text": "\r"} if key == "Enter" else {}
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key, windowsVirtualKeyCode=codes[key], **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key, windowsVirtualKeyCode=codes[key])

    def write(self, text: str) -> None:
        """Types a text into what has the focus."""
        self.call("Input.insertText", text=text)

    def picture(self, file: Path) -> None:
        """Writes the whole page as a PNG."""
        shot = self.call("Page.captureScreenshot", captureBeyondViewport=True)
        file.write_bytes(base64.b64decode(shot["data"]))

    def close(self) -> None:
        """Closes the connection."""
        self._run(self._session.close())
        self._loop.close()


@contextmanager
def browser(folder: Path) -> Iterator[Page]:
    """Yields a page of a browser with a profile of its own in a folder."""
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        pytest.skip("there is no Chromium here (Debian: apt-get install chromium)")
    flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0", "--hide-scrollbars"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    environment = os.environ | {"HOME": str(folder)}
    process = subprocess.Popen([program, *flags, f"--user-data-dir={folder}", "about:blank"], env=environment, **quiet)
    try:
        page = Page(_address(folder / "DevToolsActivePort", process))
        try:
            yield page
        finally:
            page.close()
    finally:
        process.kill()
        process.wait()


def _address(file: Path, process: subprocess.Popen[bytes]) -> str:
    """Returns the address of the first page, once the browser has written its port."""
    until = time.monotonic() + _LIMIT_S
    while not (file.is_file() and file.read_text().count("\n")):
        assert process.poll() is None, "the browser has ended"
        assert time.monotonic() < until, "the browser does not start"
        time.sleep(0.05)
    port = file.read_text().split()[0]
    return asyncio.run(_page_address(f"http://127.0.0.1:{port}/json"))


async def _page_address(url: str) -> str:
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        pages = [page for page in await response.json() if page["type"] == "page"]
    return str(pages[0]["webSocketDebuggerUrl"])
