"""A review without a page: the server in this process, asked over HTTP."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_prep.dataset_folder import DatasetFolder
from data_prep.review.server import ReviewServer
from data_prep.review.session import Session


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    content: bytes

    @property
    def json(self) -> dict[str, Any]:
        return json.loads(self.content)


@dataclass(frozen=True)
class Page:
    """What a browser does, as far as the server sees it."""

    server: ReviewServer

    @property
    def session(self) -> Session:
        return self.server.session

    def get(self, path: str, **headers: str) -> Answer:
        return self._ask("GET", path, None, headers)

    def act(self, do: str, tab: str = "one", **body: Any) -> Answer:
        """A write as the page makes it."""
        return self.post({"do": do, "tab": tab, **body})

    def post(self, body: dict[str, Any], **headers: str) -> Answer:
        origin = {"Origin": f"http://127.0.0.1:{self.server.server_port}", "Content-Type": "application/json"}
        return self._ask("POST", "/api/act", json.dumps(body).encode(), origin | headers)

    def row(self, row_id: str) -> dict[str, Any]:
        """As the page lists it."""
        return next(row for row in self.get("/api/rows").json["rows"] if row["id"] == row_id)

    def _ask(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.server_port, timeout=30)
        cookie = {"Cookie": f"{self.server.cookie}={self.server.token}"}
        sent = {name: value for name, value in (cookie | headers).items() if value}
        connection.request(method, path, body, sent)
        response = connection.getresponse()
        answer = Answer(response.status, dict(response.getheaders()), response.read())
        connection.close()
        return answer


@contextmanager
def reviewing(dataset: Path, library: Path | None) -> Iterator[Page]:
    """The page of a dataset; what is pending is written at the end, as by Ctrl-C."""
    session = Session(DatasetFolder(dataset), library)
    session.recover()
    server = ReviewServer(session)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield Page(server)
    finally:
        server.shutdown()
        server.server_close()
        session.settling.settle()
        session.reviews.journal.close()


def manifest(dataset: Path) -> dict[str, dict[str, Any]]:
    lines = (dataset / "manifest.jsonl").read_text("utf-8").splitlines()
    return {row["id"]: row for row in map(json.loads, lines)}
