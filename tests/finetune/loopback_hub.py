"""A Hugging Face Hub on the loopback interface, with as much of its protocol as the real client asks for."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub:
    """Repositories by name, each a folder.

    `answers` are (status, headers) for every request to a repository, or for those whose path holds `only`. `cut` is
    how many bytes of a file are sent less than was said. `asked` and `tokens` are what was asked for, and by whom.
    """

    def __init__(self) -> None:
        self.repos: dict[str, Path] = {}
        self.answers: dict[str, tuple[int, dict[str, str]]] = {}
        self.only = ""
        self.cut = 0
        self.asked: list[tuple[str, str]] = []
        self.tokens: list[str | None] = []
        self.endpoint = ""

    def files_asked(self) -> list[str]:
        """Names of the files whose contents were sent."""
        sent = [path for kind, path in self.asked if kind == "GET" and "/resolve/" in path]
        return [path.split("/resolve/")[1].split("/", 1)[1] for path in sent]


@contextmanager
def loopback_hub() -> Iterator[Hub]:
    hub = Hub()
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    hub.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub

    def log_message(self, format: str, *arguments: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, body: bool) -> None:
        path = self.path.partition("?")[0]
        self.hub.asked.append((self.command, path))
        self.hub.tokens.append(self.headers.get("Authorization"))
        parts = path.removeprefix("/api/models").strip("/").split("/")
        repo = "/".join(parts[:2])
        if repo in self.hub.answers and self.hub.only in path:
            status, headers = self.hub.answers[repo]
            self._send(status, b"", headers, body)
        elif repo not in self.hub.repos:
            self._send(404, b"", {"X-Error-Code": "RepoNotFound"}, body)
        elif "resolve" in parts:
            self._file(self.hub.repos[repo] / "/".join(parts[4:]), body)
        elif "tree" in parts:
            self._json(_tree(self.hub.repos[repo]))
        else:
            self._json({"id": repo, "sha": COMMIT, "siblings": []})

    def _json(self, answer: object) -> None:
        self._send(200, json.dumps(answer).encode(), {"Content-Type": "application/json"}, body=True)

    def _file(self, path: Path, body: bool) -> None:
        if not path.is_file():
            self._send(404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT}, body)
            return
        content = path.read_bytes()
        facts = {"X-Repo-Commit": COMMIT, "ETag": f'"{hashlib.sha256(content).hexdigest()}"'}
        if self.hub.cut:
            facts["X-Linked-Size"] = str(len(content))
            content = content[: -self.hub.cut]
        self._send(200, content, facts, body)

    def _send(self, status: int, content: bytes, headers: dict[str, str], body: bool) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if body:
            self.wfile.write(content)


def _tree(root: Path) -> list[dict[str, object]]:
    entries: list[dict[str, object]] = []
    for path in sorted(root.rglob("*")):
        if path.is_file():
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            size, name = path.stat().st_size, path.relative_to(root).as_posix()
            large = {"oid": digest, "size": size, "pointerSize": 100}
            entries.append({"type": "file", "path": name, "size": size, "oid": digest[:40], "lfs": large})
    return entries
