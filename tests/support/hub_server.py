"""A server on this machine with the few routes of a hub that uploads and downloads use, over a folder."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

COMMIT = "c0ffee" + "0" * 34


@dataclass
class Hub:
    """Repositories by name, each with its files; what was asked is kept.

    Attributes:
        repos: The files of each repository.
        private: The repositories that are private.
        asked: Method and path of each request.
        refuses: Whether it refuses everything, as a hub does without a valid token.
    """

    repos: dict[str, dict[str, bytes]] = field(default_factory=dict)
    private: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)
    refuses: bool = False
    url: str = ""

    def hold(self, repo: str, folder: Path) -> None:
        """Takes the files of a folder as a repository."""
        files = (file for file in folder.rglob("*") if file.is_file())
        self.repos[repo] = {file.relative_to(folder).as_posix(): file.read_bytes() for file in files}

    def post(self, path: str, body: bytes) -> Any:
        if path == "/api/repos/create":
            call = json.loads(body)
            name = f"{call['organization']}/{call['name']}"
            if name not in self.repos and call.get("visibility") == "private":
                self.private.add(name)
            self.repos.setdefault(name, {})
            return {"url": f"{self.url}/{name}"}
        if path == "/api/validate-yaml":
            return {"errors": [], "warnings": []}
        if "/preupload/" in path:
            names = [file["path"] for file in json.loads(body)["files"]]
            modes = [{"path": name, "uploadMode": "regular", "shouldIgnore": False} for name in names]
            return {"files": modes}
        assert "/commit/" in path, path
        repo = re.fullmatch(r"/api/(?:models|datasets)/(.+)/commit/main", path)[1]
        for line in map(json.loads, body.splitlines()):
            if line["key"] == "file":
                self.repos[repo][line["value"]["path"]] = base64.b64decode(line["value"]["content"])
        return {"commitOid": COMMIT, "commitUrl": f"{self.url}/{repo}/commit/{COMMIT}", "pullRequestUrl": None}

    def info(self, path: str) -> Any:
        repo = re.fullmatch(r"/api/(?:models|datasets)/([^/]+/[^/]+)(?:/revision/[^/]+)?", path)
        if repo is None or repo[1] not in self.repos:
            return None
        siblings = [{"rfilename": name} for name in self.repos[repo[1]]]
        return {"id": repo[1], "sha": COMMIT, "private": repo[1] in self.private, "siblings": siblings}

    def file(self, path: str) -> bytes | None:
        match = re.fullmatch(r"/([^/]+/[^/]+)/resolve/[^/]+/(.+)", path)
        return None if match is None else self.repos.get(match[1], {}).get(match[2])


def _handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _send(self, status: int, body: bytes, **headers: str) -> None:
            self.send_response(status)
            for name, value in ({"Content-Length": str(len(body))} | headers).items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def _answer(self) -> None:
            path = unquote(self.path.partition("?")[0])
            hub.asked.append(f"{self.command} {path}")
            length = int(self.headers.get("Content-Length") or 0)
            sent = self.rfile.read(length)
            if hub.refuses:
                self._send(401, b'{"error": "Invalid username or password."}', Content_Type="application/json")
                return
            content = hub.file(path)
            if content is not None:
                etag = f'"{hashlib.sha1(content).hexdigest()}"'
                self._send(200, content, ETag=etag, X_Repo_Commit=COMMIT)
                return
            answer = hub.post(path, sent) if self.command == "POST" else hub.info(path)
            if answer is None:
                code = "EntryNotFound" if "/resolve/" in path or "/tree/" in path else "RepoNotFound"
                self._send(404, b"", X_Error_Code=code, X_Repo_Commit=COMMIT)
            else:
                self._send(200, json.dumps(answer).encode(), Content_Type="application/json")

        do_GET = do_HEAD = do_POST = _answer  # noqa: N815 - the names are http.server's

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler


@contextmanager
def running_hub() -> Iterator[Hub]:
    """Yields a hub that listens on loopback."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(hub))
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
