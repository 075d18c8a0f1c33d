"""The page and its data over HTTP, for this machine alone.

Standard library only: the page needs a dozen answers, byte ranges, and threads that may compute for a while, which
`ThreadingHTTPServer` gives; a framework with its event loop would be two more dependencies for none of these.

Who may ask: the server listens on the loopback address; the link that the command prints holds a token, drawn anew
at each start, that becomes a cookie which other sites cannot send (SameSite=Strict). The Host header must name this
machine, so that no foreign name that resolves to it gets in; writes must come from the page's own origin. The page
loads nothing from elsewhere, and its content security policy would not let it.
"""

from __future__ import annotations

import hmac
import json
import re
import secrets
from collections.abc import Callable
from http.cookies import CookieError, SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from data_prep.files import PrepError
from data_prep.review.reviews import Conflict, NothingToUndo
from data_prep.review.session import Session, brief

ADDRESS = "127.0.0.1"
LARGEST_BODY = 4 << 20
BLOCK = 1 << 18
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self' blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
NO_ENTRY = (
    "This page opens with the link that `woodshed review` printed. After a new start the link is a new one."
)


class ReviewServer(ThreadingHTTPServer):
    """Serves one session at `url`, which holds the token. Port 0 is any free one. OSError where the port is taken."""

    daemon_threads = True

    def __init__(self, session: Session, port: int = 0) -> None:
        super().__init__((ADDRESS, port), Handler)
        self.session = session
        self.token = secrets.token_urlsafe(24)
        self.hosts = {f"{name}:{self.server_port}" for name in (ADDRESS, "localhost")}
        self.cookie = f"woodshed-review-{self.server_port}"
        """Cookies know no ports: the name does, so that two reviews do not take each other's."""

    @property
    def url(self) -> str:
        return f"http://{ADDRESS}:{self.server_port}/?token={self.token}"


class Handler(BaseHTTPRequestHandler):
    server: ReviewServer
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "woodshed", ""
    timeout = 60

    def do_GET(self) -> None:
        if not self._is_for_us():
            return
        path, query = self._asked()
        if path == "/" and "token" in query:
            if self._is_token(query["token"]):
                cookie = f"{self.server.cookie}={self.server.token}; HttpOnly; SameSite=Strict; Path=/"
                self._page_file("index.html", {"Set-Cookie": cookie})
            else:
                self._say(403, NO_ENTRY)
        elif not self._has_cookie():
            self._say(403, NO_ENTRY)
        elif path == "/":
            self._page_file("index.html")
        elif found := re.fullmatch(r"/page/([a-z_]+\.[a-z]+)", path):
            self._page_file(found[1])
        else:
            self._answer(lambda: self._get(path, query))

    do_HEAD = do_GET

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        body = b""
        if length.isdigit() and int(length) <= LARGEST_BODY:
            body = self.rfile.read(int(length))
        else:
            self.close_connection = True
        if not self._is_for_us():
            return
        origin = self.headers.get("Origin", "")
        if origin.removeprefix("http://") not in self.server.hosts or not self._has_cookie():
            self._say(403, NO_ENTRY)
        elif self.headers.get_content_type() != "application/json" or not body:
            self._say(415, "A request is JSON of at most 4 MB.")
        elif self._asked()[0] != "/api/act":
            self._say(404, "There is no such thing here.")
        else:
            self._answer(lambda: self._json(200, self.server.session.act(json.loads(body))))

    def log_message(self, format: str, *args: Any) -> None:
        """The terminal is for the musician."""

    def _get(self, path: str, query: dict[str, str]) -> None:
        session = self.server.session
        if path == "/api/rows":
            self._json(200, session.everything())
        elif path == "/api/changes":
            self._json(200, session.changes(int(query["since"])))
        elif path == "/api/thumbnails":
            self._send(200, session.views.thumbnails(query["ids"].split(",")), "application/octet-stream")
        elif found := re.fullmatch(r"/api/picture/(.+)", path):
            start, end, columns = (int(query[name]) for name in ("start", "end", "columns"))
            header, content = session.views.picture(unquote(found[1]), start, end, columns)
            line = json.dumps(header).encode() + b"\n"
            self._send(200, line + content, "application/octet-stream")
        elif found := re.fullmatch(r"/api/cuts/(.+)", path):
            self._json(
                200, {"cuts": session.views.cuts(unquote(found[1]), int(query["start"]), int(query["end"]))}
            )
        elif found := re.fullmatch(r"/sound/(.+)\.wav", path):
            if "start" in query:
                sound = session.views.stretch(unquote(found[1]), int(query["start"]), int(query["end"]))
                self._send(200, sound, "audio/wav")
            else:
                self._file(session.views.clip(unquote(found[1])))
        else:
            self._say(404, "There is no such thing here.")

    def _answer(self, respond: Callable[[], None]) -> None:
        """Run `respond`; what goes wrong is a sentence with its status."""
        session = self.server.session
        try:
            respond()
        except (ConnectionError, TimeoutError):
            self.close_connection = True
        except Conflict as conflict:
            rows = [
                brief(session.reviews.rows[row_id])
                for row_id in conflict.ids
                if row_id in session.reviews.rows
            ]
            self._json(409, {"error": str(conflict), "rows": rows})
        except NothingToUndo:
            self._json(422, {"error": "There is nothing more to take back."})
        except PrepError as error:
            self._json(422, {"error": str(error)})
        except FileNotFoundError:
            self._json(
                404, {"error": "The sound of this slice is not there; `woodshed prep` makes it again."}
            )
        except OSError as error:
            self._json(507, {"error": f"Nothing was saved: {error.strerror or error}."})
        except (KeyError, ValueError, TypeError, AttributeError):
            self._json(400, {"error": "This is no request that the page would make; reload it."})

    def _is_for_us(self) -> bool:
        if self.headers.get("Host") in self.server.hosts:
            return True
        self._say(421, "This server answers under its own address only.")
        return False

    def _has_cookie(self) -> bool:
        try:
            morsel = SimpleCookie(self.headers.get("Cookie", "")).get(self.server.cookie)
        except CookieError:
            return False
        return morsel is not None and self._is_token(morsel.value)

    def _is_token(self, text: str) -> bool:
        return hmac.compare_digest(text.encode(), self.server.token.encode())

    def _asked(self) -> tuple[str, dict[str, str]]:
        parts = urlsplit(self.path)
        return parts.path, {name: values[-1] for name, values in parse_qs(parts.query).items()}

    def _page_file(self, name: str, headers: dict[str, str] | None = None) -> None:
        resource = files("data_prep.review") / "page" / name
        if not resource.is_file():
            self._say(404, "There is no such thing here.")
            return
        self._send(200, resource.read_bytes(), TYPES[Path(name).suffix], headers)

    def _json(self, status: int, content: dict[str, Any]) -> None:
        self._send(status, json.dumps(content).encode(), "application/json")

    def _say(self, status: int, sentence: str) -> None:
        self._send(status, sentence.encode(), "text/plain; charset=utf-8")

    def _send(self, status: int, content: bytes, kind: str, headers: dict[str, str] | None = None) -> None:
        first, last = 0, len(content) - 1
        if status == 200 and kind.startswith("audio/") and (asked := self._range(len(content))):
            status, (first, last) = 206, asked
            headers = {"Content-Range": f"bytes {first}-{last}/{len(content)}"}
        self._head(status, last - first + 1, kind, headers)
        if self.command != "HEAD":
            self.wfile.write(content[first : last + 1])

    def _file(self, path: Path) -> None:
        """A WAV, in part where the browser asks for a part of it: this is how it seeks."""
        with path.open("rb") as file:
            size = path.stat().st_size
            asked = self._range(size)
            first, last = asked or (0, size - 1)
            extra = {"Content-Range": f"bytes {first}-{last}/{size}"} if asked else None
            self._head(206 if asked else 200, last - first + 1, "audio/wav", extra)
            file.seek(first)
            left = last - first + 1 if self.command != "HEAD" else 0
            while left > 0 and (block := file.read(min(BLOCK, left))):
                self.wfile.write(block)
                left -= len(block)

    def _head(self, status: int, length: int, kind: str, headers: dict[str, str] | None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(length))
        if kind.startswith("audio/"):
            self.send_header("Accept-Ranges", "bytes")
        for name, value in (HEADERS | (headers or {})).items():
            self.send_header(name, value)
        self.end_headers()

    def _range(self, size: int) -> tuple[int, int] | None:
        """First and last byte of what is asked for (RFC 9110, one range); None for all of it."""
        found = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        if not found or not any(found.groups()) or not size:
            return None
        if not found[1]:
            return max(0, size - int(found[2])), size - 1
        first, last = int(found[1]), min(int(found[2] or size - 1), size - 1)
        return (first, last) if first <= last else None
