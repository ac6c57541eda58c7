"""Serves the page of runs under way on this machine alone: nothing but the page, to nobody but its own browser."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import sys
from dataclasses import asdict
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from medssr.commands.watch.live_page import PAGE, LivePage

LOOPBACK = "127.0.0.1"
# Names that a browser on this machine calls the server by. A page of another site whose name leads here (DNS rebinding)
# brings its own name.
_OWN_NAMES = ("127.0.0.1", "localhost", "[::1]")
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".png": "image/png",
    ".csv": "text/csv; charset=utf-8",
    ".md": "text/plain; charset=utf-8",
    ".tex": "text/plain; charset=utf-8",
}
_IDLE_S = 30  # after which a connection without a request is closed


class PageServer(ThreadingHTTPServer):
    """Serves a page on the loopback interface.

    Args:
        page: The page.
        port: The port; 0 for a free one.

    Raises:
        OSError: When the port is in use or may not be used.
    """

    daemon_threads = True
    # The port of a server that has just ended can be used again; one in use is still refused.
    allow_reuse_address = True

    def __init__(self, page: LivePage, port: int) -> None:
        self.page = page
        super().__init__((LOOPBACK, port), _Handler)

    @property
    def address(self) -> str:
        """The address of the page."""
        return f"http://{LOOPBACK}:{self.server_address[1]}/"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Tells of an error in an answer; that a browser has left is none."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    """Answers GET: the page, its figures and files, and `state`."""

    server: PageServer
    timeout = _IDLE_S
    server_version, sys_version = "medssr", ""

    def do_GET(self) -> None:
        """Sends a part of the page."""
        host = self.headers.get("Host", "")
        if re.sub(r":\d+$", "", host) not in _OWN_NAMES:
            self._send(HTTPStatus.MISDIRECTED_REQUEST, b"medssr watch answers to 127.0.0.1 and localhost alone\n")
            return
        name = self.path.partition("?")[0].removeprefix("/") or PAGE
        if name == "state":
            state = json.dumps(asdict(self.server.page.progress()))
            self._send(HTTPStatus.OK, state.encode(), "application/json")
            return
        if name == "favicon.ico":  # a browser asks for one; there is none
            self._send(HTTPStatus.NO_CONTENT, b"")
            return
        content = self.server.page.file(name)
        if content is None:
            self._send(HTTPStatus.NOT_FOUND, b"not a part of the page\n")
            return
        self._send(HTTPStatus.OK, content, _TYPES["." + name.rpartition(".")[2]])

    def _send(self, status: HTTPStatus, content: bytes, kind: str = "text/plain; charset=utf-8") -> None:
        self.send_response(status)
        is_versioned = status is HTTPStatus.OK and "?" in self.path
        headers = {
            "Content-Type": kind,
            "Content-Length": str(len(content)),
            "Cache-Control": "max-age=3600" if is_versioned else "no-store",
            "Content-Security-Policy": _policy(content if kind.startswith("text/html") else b""),
            "Cross-Origin-Resource-Policy": "same-origin",
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
        }
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Does nothing: the terminal has the address alone."""


def _policy(page: bytes) -> str:
    """Returns what a browser may do with the page: show its own figures and run its own script, nothing else."""
    script = page.rpartition(b"<script>")[2].partition(b"</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script).digest()).decode()
    return (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; img-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
