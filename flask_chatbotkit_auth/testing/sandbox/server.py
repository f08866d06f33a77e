"""The HTTP server of the sandbox: it reads requests, and writes answers whole, in chunks, in part or not at all."""

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
    """A request that arrived at the sandbox."""

    method: str
    path: str
    """The path as it was sent, without the query: ``"/api/v1/contact/list"``."""

    query: dict[str, str]
    """The query, by its names as they were sent: ``{"meta.email": "a@example.com"}``."""

    json: Any
    """The parsed body; None if there was none, or if it could not be parsed."""

    headers: Headers
    """The headers. Their names are case-insensitive."""

    account: str | None = None
    """The id of the acting sub-account; None for the account that the secret belongs to."""

    status: int = 0
    """The status of the answer; 0 before there is one, and if the connection was dropped."""


@dataclass(frozen=True)
class Answer:
    """The answer to a request."""

    status: int
    content: bytes | Sequence[bytes] = b""
    """The body. A sequence is sent in chunks."""
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    pause: float = 0
    """Seconds between chunks."""
    cut: int | None = None
    """How many bytes of the answer, including its head, are sent before the connection is closed; None for all."""


class Server(ThreadingHTTPServer):
    """Answers requests with ``respond`` until it is closed. Then no connection stays open.

    :param respond: takes a request, and returns its answer, or None to close the connection without one.
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
            # Closing takes at most this interval.
            target=self.serve_forever,
            kwargs={"poll_interval": 0.01},
            name="chatbotkit-sandbox",
            daemon=True,
        )

    def server_bind(self) -> None:
        # The method of HTTPServer also looks up the name of the host, which can take seconds without a name server.
        TCPServer.server_bind(self)
        self.server_port: int = self.socket.getsockname()[1]

    def start(self) -> None:
        self._thread.start()

    def join(self, timeout: float) -> bool:
        """Wait at most ``timeout`` seconds for the server to end. Return whether it has ended."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def close(self) -> None:
        """Stop listening, and close every connection, including idle ones that are kept alive."""
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
        # A client that closes the connection early is not an error of the sandbox.
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
        # In one write: a second one would wait until the client acknowledges the first.
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
        """Log nothing: :attr:`.Sandbox.requests` has every request."""


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
