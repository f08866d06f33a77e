"""HTTP on a real socket: reading requests, writing answers whole, in chunks, in part or not at all."""

from __future__ import annotations

import contextlib
import json
import socket
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any
from urllib.parse import parse_qsl

from werkzeug.datastructures import Headers

PARTING_SECONDS = 5


@dataclass(frozen=True)
class Request:
    """A call that arrived at the sandbox."""

    method: str
    path: str
    """As it was sent, without the query: ``"/api/v1/contact/list"``."""

    query: dict[str, str]
    """The query by its names as sent: ``{"meta.email": "a@example.com"}``."""

    json: Any
    """The parsed body; None where there was none, or none that could be parsed."""

    headers: Headers
    """The headers; names in any case find them."""

    account: str | None = None
    """Id of the sub-account that acts; None is the account that the secret belongs to."""

    status: int = 0
    """The status of the answer; 0 until there is one, and for good where the connection was dropped."""


@dataclass(frozen=True)
class Answer:
    """What is written in return."""

    status: int
    content: bytes | Sequence[bytes] = b""
    """The body; a sequence goes out as chunks."""
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    pause: float = 0
    """Seconds between chunks."""
    cut: int | None = None
    """How many bytes of the whole answer, head and all, are sent before the connection is closed."""


class Server(ThreadingHTTPServer):
    """Serves ``respond`` until it is closed; then no connection is left open.

    :param respond: given a request, returns its answer, or None to close the connection without one.
    """

    daemon_threads = True
    request_queue_size = 512

    def __init__(self, address: tuple[str, int], respond: Callable[[Request], Answer | None]) -> None:
        super().__init__(address, Handler)
        self.respond = respond
        self.closing: threading.Event = threading.Event()
        self._connections: set[socket.socket] = set()
        self._changed = threading.Condition()
        self._thread = threading.Thread(
            # The interval is what closing may take at most.
            target=self.serve_forever,
            kwargs={"poll_interval": 0.01},
            name="chatbotkit-sandbox",
            daemon=True,
        )

    def server_bind(self) -> None:
        # HTTPServer's own also looks up the host's name, which can take seconds where there is no name server.
        TCPServer.server_bind(self)
        self.server_port: int = self.socket.getsockname()[1]

    def start(self) -> None:
        self._thread.start()

    def join(self, timeout: float) -> bool:
        """Wait for the end, at most ``timeout`` seconds; return whether it has come."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def close(self) -> None:
        """Stop listening and hang up on everybody, also on those who keep their connection for the next request."""
        self.closing.set()
        self.shutdown()
        self._thread.join()
        self.server_close()
        with self._changed:
            for connection in self._connections:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
            self._changed.wait_for(lambda: not self._connections, PARTING_SECONDS)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._changed:
            self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        super().shutdown_request(request)
        with self._changed:
            self._connections.discard(request)
            self._changed.notify_all()

    def handle_error(self, request: Any, client_address: Any) -> None:
        # A client that hangs up in the middle is no error of the sandbox's.
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    server: Server
    protocol_version = "HTTP/1.1"
    close_connection: bool
    disable_nagle_algorithm = True

    def do_any(self) -> None:
        length = self.headers.get("Content-Length", "0")
        if not length.isdecimal() or "Transfer-Encoding" in self.headers:
            self.send_error(HTTPStatus.LENGTH_REQUIRED)
            return
        body = self.rfile.read(int(length))
        path, _, query = self.path.partition("?")
        request = Request(
            method=self.command,
            path=path,
            query=dict(parse_qsl(query, keep_blank_values=True)),
            json=_parse(body),
            headers=Headers(self.headers.items()),
        )
        answer = self.server.respond(request)
        if answer is None:
            self.close_connection = True
        else:
            self._write(answer)

    def _write(self, answer: Answer) -> None:
        headers = Headers({"Date": self.date_time_string(), "Content-Type": answer.content_type})
        if isinstance(answer.content, bytes):
            pieces = [answer.content]
            headers["Content-Length"] = str(len(answer.content))
        else:
            pieces = _chunks(answer.content)
            headers["Transfer-Encoding"] = "chunked"
        headers.update(answer.headers)
        head = _head(answer.status, headers)
        if self.command == "HEAD":
            pieces = [b""]
        # In one write, since a second one would wait for the client's acknowledgement of the first.
        pieces[0] = head + pieces[0]
        if answer.cut is not None:
            pieces = [b"".join(pieces)[: answer.cut]]
            self.close_connection = True
        for number, piece in enumerate(pieces):
            if number and answer.pause and self.server.closing.wait(answer.pause):
                self.close_connection = True
                return
            self.wfile.write(piece)

    def log_message(self, format: str, *args: Any) -> None:
        """Keep quiet: :attr:`.Sandbox.requests` tells it all."""


for _method in ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"):
    setattr(Handler, f"do_{_method}", Handler.do_any)


def _head(status: int, headers: Headers) -> bytes:
    phrase = HTTPStatus(status).phrase if status in HTTPStatus.__members__.values() else "Unknown"
    lines = [f"HTTP/1.1 {status} {phrase}", *(f"{name}: {value}" for name, value in headers)]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def _parse(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _chunks(content: Sequence[bytes]) -> list[bytes]:
    return [f"{len(piece):x}\r\n".encode() + piece + b"\r\n" for piece in content] + [b"0\r\n\r\n"]
