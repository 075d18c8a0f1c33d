"""A Weights & Biases server on the loopback interface, with as much of its protocol as the real client asks for.

What it keeps: runs with their rows of history, addressed by line as the real one does; artifacts, versioned, one for
each content; files that were put. `received` is every byte that a client sent.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

from loopback_wandb_graphql import OPERATIONS

KEY = "local-" + "0123456789abcdef" * 2 + "01234567"  # what `wandb login` would have kept
ENTITY = "nell"


@dataclass
class Run:
    """`history` holds the rows; `inserted` says how many of them were written twice."""

    entity: str
    project: str
    name: str
    config: str = "{}"
    summary: str = "{}"
    history: list[str] = field(default_factory=list)
    events: list[str] = field(default_factory=list)
    overwritten: int = 0
    exit_codes: list[int] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)  # name: key in `stored`
    used: list[str] = field(default_factory=list)
    logged: list[str] = field(default_factory=list)

    def rows(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.history]

    def steps(self) -> list[int]:
        return [row["_step"] for row in self.rows()]

    def settings(self) -> dict[str, Any]:
        """The run's config without the client's own entry."""
        kept = json.loads(self.config)
        return {key: entry["value"] for key, entry in kept.items() if key != "_wandb"}


@dataclass
class StoredArtifact:
    """`files` and `manifest` are keys in `stored`."""

    id: str
    entity: str
    project: str
    type: str
    collection: str
    version: int
    digest: str
    aliases: list[str]
    metadata: str | None
    state: str = "PENDING"
    manifest: str = ""
    files: dict[str, str] = field(default_factory=dict)


class Server:
    """`trouble(path)` is asked for every request: a status to answer it with, "hang", "drop", or None."""

    def __init__(self) -> None:
        self.url = ""
        self.lock = threading.RLock()
        self.closing = threading.Event()
        self.forget()

    def forget(self) -> None:
        """Begin anew."""
        self.runs: dict[str, Run] = {}
        self.artifacts: list[StoredArtifact] = []
        self.stored: dict[str, bytes] = {}
        self.received: list[tuple[str, bytes]] = []  # path, headers and body
        self.unknown: list[str] = []
        self.trouble: Callable[[str], int | str | None] = lambda path: None

    def run(self) -> Run:
        """The only run."""
        (run,) = self.runs.values()
        return run

    def of_type(self, kind: str) -> list[StoredArtifact]:
        return [artifact for artifact in self.artifacts if artifact.type == kind]

    def contents(self, artifact: StoredArtifact) -> dict[str, bytes]:
        return {name: self.stored[key] for name, key in artifact.files.items()}

    def everything(self) -> bytes:
        """Every byte a client sent."""
        return b"\n".join(path.encode() + b"\n" + sent for path, sent in self.received)

    def place(self, kind: str, owner: str, name: str) -> str:
        """A new key for contents, which lie at `self.url/storage/<key>`."""
        return f"{kind}/{owner}/{name}"

    def address(self, key: str) -> str:
        return f"{self.url}/storage/{key}"

    def wait_until(self, true: Callable[[], bool], seconds: float = 120.0) -> None:
        until = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < until, "what the test waits for did not happen"
            time.sleep(0.01)


@contextmanager
def loopback_wandb() -> Iterator[Server]:
    server = Server()
    handler = type("Handler", (_Handler,), {"wandb": server})
    http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    http.daemon_threads = True
    server.url = f"http://127.0.0.1:{http.server_address[1]}"
    thread = threading.Thread(target=http.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.closing.set()
        http.shutdown()
        http.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    wandb: Server
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *arguments: object) -> None:
        pass

    def do_POST(self) -> None:
        body = self._read()
        if self._in_trouble():
            return
        with self.wandb.lock:
            if self.path == "/graphql":
                status, answer = _graphql(self.wandb, json.loads(body))
            else:
                status, answer = _file_stream(self.wandb, unquote(self.path), json.loads(body))
        self._send(status, json.dumps(answer).encode())

    def do_PUT(self) -> None:
        body = self._read()
        if self._in_trouble():
            return
        with self.wandb.lock:
            self.wandb.stored[unquote(self.path).removeprefix("/storage/")] = body
        self._send(200, b"")

    def do_GET(self) -> None:
        self._read()
        if self._in_trouble():
            return
        key = unquote(self.path).removeprefix("/storage/")
        found = self.wandb.stored.get(key)
        self._send(404 if found is None else 200, found or b"")

    def _read(self) -> bytes:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        with self.wandb.lock:
            self.wandb.received.append((self.path, str(self.headers).encode() + body))
        return body

    def _in_trouble(self) -> bool:
        trouble = self.wandb.trouble(self.path)
        if trouble is None:
            return False
        if trouble == "hang":
            self.wandb.closing.wait()
        if isinstance(trouble, int):
            self._send(trouble, b'{"error": "trouble"}')
        else:
            self.close_connection = True
            self.connection.close()
        return True

    def _send(self, status: int, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def _graphql(server: Server, request: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    found = re.search(r"\b(?:query|mutation)\s+(\w+)", request["query"])
    name = found.group(1) if found else request["query"]
    if name not in OPERATIONS:
        server.unknown.append(name)
        return 400, {"errors": [{"message": f"{name} is not known here"}]}
    return 200, {"data": OPERATIONS[name](server, request.get("variables") or {})}


def _file_stream(server: Server, path: str, sent: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """Rows go where their offset says: a line that is there already is overwritten, as by the real server."""
    found = re.fullmatch(r"/files/([^/]+)/([^/]+)/([^/]+)/file_stream", path)
    run = server.runs.get(found.group(3)) if found else None
    if run is None:
        server.unknown.append(path)
        return 404, {"error": "no such run"}
    for name, chunk in (sent.get("files") or {}).items():
        lines = {"wandb-history.jsonl": run.history, "wandb-events.jsonl": run.events}.get(name)
        if lines is not None:
            run.overwritten += len(lines[chunk["offset"] :])
            lines[chunk["offset"] :] = chunk["content"]
        elif name == "wandb-summary.json":
            run.summary = chunk["content"][-1]
    if sent.get("complete"):
        run.exit_codes.append(sent["exitcode"])
    return 200, {"exitcode": None, "limits": {}}
