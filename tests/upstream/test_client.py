from __future__ import annotations

import json
import logging
import os
import socket
import threading
from collections.abc import Callable, Iterator
from email.utils import formatdate
from typing import Any, NamedTuple

import pytest

from flask_chatbotkit_auth.exceptions import (
    APIConnectionError,
    APIError,
    APIStatusError,
    APITimeout,
    ConfigurationError,
    Conflict,
    LimitsReached,
    NotAuthenticated,
    NotAuthorized,
    NotFound,
    TooManyRequests,
)
from flask_chatbotkit_auth.testing import Sandbox
from flask_chatbotkit_auth.upstream.client import ChatBotKitClient
from flask_chatbotkit_auth.upstream.urls import path_segment

SECRET = "sk-5c1e0f7a"
USER = {"id": "u1", "email": "ann@example.com"}


class Request(NamedTuple):
    """A request as a server saw it; ``connection`` counts from 1 in the order in which they were made."""

    connection: int
    method: str
    target: str
    headers: dict[str, str]
    body: bytes


Answer = bytes | Callable[["Server", socket.socket], None]
"""Bytes leave the connection open; a function sends what it likes, and the connection is closed after it."""


class Server:
    """Answers requests from a script, byte by byte as it says; when the script is over, with the last answer again."""

    def __init__(self) -> None:
        self.script: list[Answer] = [reply(200, {})]
        self.requests: list[Request] = []
        self.stop = threading.Event()
        self.hung_up = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.origin = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._lock = threading.Lock()
        self._connections: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    @property
    def targets(self) -> list[str]:
        return [request.target for request in self.requests]

    def close(self) -> None:
        self.stop.set()
        for sock in (self._listener, *self._connections):
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def _accept(self) -> None:
        while not self.stop.is_set():
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self._connections.append(sock)
            thread = threading.Thread(target=self._serve, args=(sock, len(self._connections)))
            self._threads.append(thread)
            thread.start()

    def _serve(self, sock: socket.socket, connection: int) -> None:
        try:
            with sock, sock.makefile("rb") as file:
                while line := file.readline():
                    method, target, _ = line.decode().split(" ")
                    headers = {}
                    while (header := file.readline().decode().rstrip("\r\n")) != "":
                        name, _, value = header.partition(": ")
                        headers[name.lower()] = value
                    body = file.read(int(headers.get("content-length", 0)))
                    with self._lock:
                        self.requests.append(Request(connection, method, target, headers, body))
                        answer = self.script.pop(0) if len(self.script) > 1 else self.script[0]
                    if callable(answer):
                        answer(self, sock)
                        break
                    sock.sendall(answer)
        except OSError:
            pass
        self.hung_up.set()


def reply(status: int, body: object, **headers: str) -> bytes:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    fields = {"Content_Type": "application/json", "Content_Length": str(len(content)), **headers}
    head = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {status} Whatever\r\n{head}\r\n".encode() + content


def error(status: int, code: str = "SOME_CODE", message: str = "some message", **headers: str) -> bytes:
    return reply(status, {"code": code, "message": message}, **headers)


def chunked(*chunks: bytes, end: bytes = b"0\r\n\r\n") -> bytes:
    content = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + content + end


def cut(data: bytes) -> Answer:
    """Send this, then close."""
    return lambda server, sock: sock.sendall(data)


def hold(data: bytes = b"") -> Answer:
    """Send this, then nothing more."""

    def answer(server: Server, sock: socket.socket) -> None:
        sock.sendall(data)
        server.stop.wait()

    return answer


def drip(data: bytes, endless: bytes) -> Answer:
    """Send this, then a byte now and then for as long as somebody listens."""

    def answer(server: Server, sock: socket.socket) -> None:
        sock.sendall(data)
        while not server.stop.wait(0.01):
            sock.sendall(endless)

    return answer


NOT_FOUND = error(404, "NOT_FOUND", "Not found")
HTML_404 = reply(404, b"<!DOCTYPE html><h1>Not found</h1>", Content_Type="text/html")


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def make_server() -> Iterator[Callable[[], Server]]:
    servers: list[Server] = []

    def make() -> Server:
        servers.append(Server())
        return servers[-1]

    yield make
    for server in servers:
        server.close()


@pytest.fixture
def server(make_server: Callable[[], Server]) -> Server:
    return make_server()


@pytest.fixture
def pauses() -> list[float]:
    return []


@pytest.fixture
def make_client(server: Server, pauses: list[float]) -> Callable[..., ChatBotKitClient]:
    def make(**options: Any) -> ChatBotKitClient:
        given: dict[str, Any] = {"base_url": server.origin, "sleep": pauses.append, **options}
        return ChatBotKitClient(SECRET, **given)

    return make


@pytest.fixture
def client(make_client: Callable[..., ChatBotKitClient]) -> ChatBotKitClient:
    return make_client()


@pytest.fixture
def refused() -> str:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return f"http://127.0.0.1:{sock.getsockname()[1]}"


# Addresses and requests


@pytest.mark.parametrize(
    ("base_url", "prefix"),
    [
        ("https://api.chatbotkit.com", "https://api.chatbotkit.com/v1"),
        ("https://api.chatbotkit.com/", "https://api.chatbotkit.com/v1"),
        ("https://API.chatbotkit.com/v1", "https://api.chatbotkit.com/v1"),
        ("https://api.chatbotkit.com/api/v1/", "https://api.chatbotkit.com/v1"),
        ("http://api.chatbotkit.com", "https://api.chatbotkit.com/v1"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080/api/v1"),
        ("http://127.0.0.1:8080//", "http://127.0.0.1:8080/api/v1"),
        ("http://[::1]:8080", "http://[::1]:8080/api/v1"),
        ("https://cbk.example.com/api", "https://cbk.example.com/api/v1"),
        ("https://cbk.example.com/v1", "https://cbk.example.com/api/v1"),
        ("https://cbk.example.com/api/v1/", "https://cbk.example.com/api/v1"),
        ("https://example.com/chatbotkit/", "https://example.com/chatbotkit/api/v1"),
        ("https://api.chatbotkit.com.example.com", "https://api.chatbotkit.com.example.com/api/v1"),
        ("https://bücher.example", "https://xn--bcher-kva.example/api/v1"),
    ],
)
def test_prefix(base_url: str, prefix: str) -> None:
    assert repr(ChatBotKitClient(SECRET, base_url)) == f"<ChatBotKitClient {prefix}>"


@pytest.mark.parametrize(
    "base_url",
    [
        "",
        "api.chatbotkit.com",
        "ftp://example.com",
        "file:///etc/passwd",
        "https://",
        "https:///api",
        "https://me:password@example.com",
        "https://example.com?x=1",
        "https://example.com#x",
        "https://example.com:port",
        "https://exam ple.com",
        "https://example.com\n",
        "https://example.com\\@evil.example",
    ],
)
def test_wrong_address(base_url: str) -> None:
    with pytest.raises(ConfigurationError, match="CHATBOTKIT_API_URL"):
        ChatBotKitClient(SECRET, base_url)


@pytest.mark.parametrize("secret", ["", " ", "sk-1\n", "sk-1\r\nX-Evil: 1", "sk 1", "sk-ключ"])
def test_wrong_secret(secret: str) -> None:
    with pytest.raises(ConfigurationError, match="CHATBOTKIT_API_SECRET") as raised:
        ChatBotKitClient(secret)
    assert "sk" not in str(raised.value)


@pytest.mark.parametrize(
    ("options", "key"),
    [
        ({"timeout": 0}, "CHATBOTKIT_API_TIMEOUT"),
        ({"timeout": float("inf")}, "CHATBOTKIT_API_TIMEOUT"),
        ({"retries": -1}, "CHATBOTKIT_API_RETRIES"),
        ({"users_path": "/users"}, "users_path"),
    ],
)
def test_wrong_option(options: dict[str, Any], key: str) -> None:
    with pytest.raises(ConfigurationError, match=key):
        ChatBotKitClient(SECRET, **options)


def test_get(server: Server, client: ChatBotKitClient) -> None:
    server.script = [reply(200, USER)]
    assert client.get("/contact/list", {"meta.email": "a+b@example.com", "take": 2, "cursor": None}) == USER
    (request,) = server.requests
    assert (request.method, request.target) == ("GET", "/api/v1/contact/list?meta.email=a%2Bb%40example.com&take=2")
    assert request.headers["authorization"] == f"Bearer {SECRET}"
    assert request.headers["accept"] == "application/json"
    assert request.body == b""


@pytest.mark.parametrize(("given", "sent"), [({"name": "Ä"}, {"name": "Ä"}), ({}, {}), (None, {})])
def test_post(server: Server, client: ChatBotKitClient, given: dict[str, Any] | None, sent: dict[str, Any]) -> None:
    server.script = [reply(201, {"id": "u1"})]
    assert client.post("/contact/create", given) == {"id": "u1"}
    (request,) = server.requests
    assert (request.method, request.target) == ("POST", "/api/v1/contact/create")
    assert request.headers["content-type"] == "application/json"
    assert json.loads(request.body) == sent


@pytest.mark.parametrize("chunks", [(b'{"id":"u1"}',), (b'{"id"', b':"u1"}')])
def test_chunked_answer(server: Server, client: ChatBotKitClient, chunks: tuple[bytes, ...]) -> None:
    server.script = [chunked(*chunks)]
    assert client.get("/contact/list") == {"id": "u1"}


@pytest.mark.parametrize(
    ("id", "segment"),
    [
        ("u1", "u1"),
        ("a/b", "a%2Fb"),
        ("a?b#c", "a%3Fb%23c"),
        ("a\r\nb", "a%0D%0Ab"),
        ("ü%", "%C3%BC%25"),
        ("...", "..."),
    ],
)
def test_path_segment(server: Server, client: ChatBotKitClient, id: str, segment: str) -> None:
    assert path_segment(id) == segment
    client.get(f"/contact/{path_segment(id)}/fetch")
    assert server.targets == [f"/api/v1/contact/{segment}/fetch"]


@pytest.mark.parametrize("id", ["", ".", "..", "../x", "a/../b", "..\\x", "/a", "a//b", "\ud800", None, 7])
def test_path_segment_refuses(id: Any) -> None:
    with pytest.raises(APIError, match="is not one"):
        path_segment(id)


@pytest.mark.parametrize(
    "path",
    ["", "contact/list", "/contact/../user/list", "/contact/.", "/a//b", "/a/", "/a?b=c", "/a#b", "/a b", "/a\n"],
)
def test_path_is_checked(server: Server, client: ChatBotKitClient, path: str) -> None:
    for call in (client.get, client.post, client.stream):
        with pytest.raises(ValueError, match="path_segment"):
            call(path)
    assert server.requests == []


# Lists


def test_paginate_follows_the_cursor(server: Server, client: ChatBotKitClient) -> None:
    server.script = [
        reply(200, {"items": [{"id": "1"}, {"id": "2"}], "cursor": "c/1"}),
        reply(200, {"items": [{"id": "3"}], "cursor": "c2"}),
        reply(200, {"items": [], "cursor": "c3"}),
    ]
    assert [item["id"] for item in client.paginate("/contact/list", {"take": 2})] == ["1", "2", "3"]
    assert [target.partition("?")[2] for target in server.targets] == [
        "take=2",
        "take=2&cursor=c%2F1",
        "take=2&cursor=c2",
    ]


@pytest.mark.parametrize("end", [{}, {"cursor": None}, {"cursor": ""}, {"cursor": 7}])
def test_paginate_ends_without_a_cursor(server: Server, client: ChatBotKitClient, end: dict[str, Any]) -> None:
    server.script = [reply(200, {"items": [USER], **end})]
    assert list(client.paginate("/contact/list")) == [USER]
    assert len(server.requests) == 1


def test_paginate_ends_at_a_cursor_seen_before(server: Server, client: ChatBotKitClient) -> None:
    server.script = [reply(200, {"items": [USER], "cursor": cursor}) for cursor in ("a", "b", "a")]
    assert len(list(client.pages("/contact/list"))) == 3
    server.script = [reply(200, {"items": [USER], "cursor": "here"})]
    assert len(list(client.pages("/contact/list", {"cursor": "here"}))) == 1


def test_paginate_gives_up(server: Server, client: ChatBotKitClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flask_chatbotkit_auth.upstream.client.MAX_PAGES", 3)
    server.script = [reply(200, {"items": [USER], "cursor": f"c{number}"}) for number in range(9)]
    with pytest.raises(APIError, match="did not end within 3 pages"):
        list(client.paginate("/contact/list"))
    assert len(server.requests) == 3


@pytest.mark.parametrize("answer", [{}, {"items": None}, {"items": {}}, {"items": ["u1"]}, {"items": [USER, None]}])
def test_paginate_checks_the_items(server: Server, client: ChatBotKitClient, answer: dict[str, Any]) -> None:
    server.script = [reply(200, answer)]
    with pytest.raises(APIError, match="list of objects"):
        list(client.paginate("/contact/list"))


# Both names of the sub-account resource


@pytest.mark.parametrize("unknown", [NOT_FOUND, HTML_404, error(405), reply(405, b"<html>")])
def test_second_name(server: Server, client: ChatBotKitClient, unknown: bytes) -> None:
    server.script = [unknown, reply(200, USER)]
    assert client.get("/user/u1/fetch") == USER
    assert client.users_path == "/partner/user"
    client.post("/user/u1/update", {"name": "Ann"})
    assert server.targets == [
        "/api/v1/user/u1/fetch",
        "/api/v1/partner/user/u1/fetch",
        "/api/v1/partner/user/u1/update",
    ]


def test_first_name(server: Server, client: ChatBotKitClient) -> None:
    server.script = [reply(200, USER), NOT_FOUND]
    client.get("/user/u1/fetch")
    assert client.users_path == "/user"
    with pytest.raises(NotFound):
        client.get("/user/u2/fetch")
    assert server.targets == ["/api/v1/user/u1/fetch", "/api/v1/user/u2/fetch"]


@pytest.mark.parametrize("status", [400, 403, 409, 422])
@pytest.mark.parametrize(("script", "learned"), [([], "/user"), ([NOT_FOUND], "/partner/user")])
def test_refusal_proves_a_name(
    server: Server, client: ChatBotKitClient, script: list[Answer], learned: str, status: int
) -> None:
    server.script = [*script, error(status)]
    with pytest.raises(APIStatusError) as raised:
        client.post("/user/create", {})
    assert raised.value.status == status
    assert client.users_path == learned


@pytest.mark.parametrize("status", [301, 401, 408, 429, 500, 503])
@pytest.mark.parametrize("script", [[], [NOT_FOUND]])
def test_refusal_by_a_gateway_proves_no_name(
    server: Server, client: ChatBotKitClient, script: list[Answer], status: int
) -> None:
    server.script = [*script, error(status)]
    with pytest.raises(APIStatusError) as raised:
        client.post("/user/create", {})
    assert raised.value.status == status
    assert client.users_path is None
    assert len(server.requests) == len(script) + 1


@pytest.mark.parametrize(
    ("first", "second", "code"),
    [
        (NOT_FOUND, HTML_404, "NOT_FOUND"),
        (HTML_404, NOT_FOUND, "NOT_FOUND"),
        (error(404, "A"), error(404, "B"), "A"),
        (error(405, "METHOD_NOT_ALLOWED"), NOT_FOUND, "NOT_FOUND"),
        (HTML_404, HTML_404, ""),
    ],
)
def test_both_names_unknown(server: Server, client: ChatBotKitClient, first: bytes, second: bytes, code: str) -> None:
    server.script = [first, second, reply(200, USER)]
    with pytest.raises(NotFound) as raised:
        client.get("/user/nobody/fetch")
    assert raised.value.code == code
    assert client.users_path is None
    client.get("/user/u1/fetch")
    client.get("/user/u1/fetch")
    assert server.targets[2:] == ["/api/v1/user/u1/fetch"] * 2


@pytest.mark.parametrize("name", ["/user", "/partner/user"])
def test_name_is_told(server: Server, make_client: Callable[..., ChatBotKitClient], name: str) -> None:
    server.script = [NOT_FOUND]
    client = make_client(users_path=name)
    with pytest.raises(NotFound):
        client.get("/user/u1/fetch")
    assert server.targets == [f"/api/v1{name}/u1/fetch"]


def test_other_paths_have_one_name(server: Server, client: ChatBotKitClient) -> None:
    server.script = [NOT_FOUND]
    for path in ("/contact/list", "/users/list", "/partner/user/list"):
        with pytest.raises(NotFound):
            client.get(path)
    assert server.targets == ["/api/v1/contact/list", "/api/v1/users/list", "/api/v1/partner/user/list"]


# Acting as somebody


def test_run_as(server: Server, client: ChatBotKitClient) -> None:
    server.script = [NOT_FOUND, reply(200, {})]
    client.run_as("u1").get("/user/u1/fetch")
    assert client.users_path == "/partner/user"
    client.get("/contact/list")
    client.run_as("u2").post("/contact/create")
    assert [request.headers.get("x-runas-user-id") for request in server.requests] == ["u1", "u1", None, "u2"]
    assert {request.connection for request in server.requests} == {1}


@pytest.mark.parametrize("user_id", ["", "u1\r\nX-Evil: 1", "u1\n", "u 1", "\x00", "ü"])
def test_run_as_refuses(client: ChatBotKitClient, user_id: str) -> None:
    with pytest.raises(APIError, match="is not one"):
        client.run_as(user_id)


# Errors


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, "BAD_REQUEST", APIStatusError),
        (401, "NOT_AUTHENTICATED", NotAuthenticated),
        (402, "NO_SUBSCRIPTION", APIStatusError),
        (403, "NOT_AUTHORIZED", NotAuthorized),
        (404, "NOT_FOUND", NotFound),
        (409, "CONFLICT", Conflict),
        (413, "", APIStatusError),
        (422, "UNPROCESSABLE_ENTITY", APIStatusError),
        (429, "TOO_MANY_REQUESTS", TooManyRequests),
        (429, "LIMITS_REACHED", LimitsReached),
        (500, "", APIStatusError),
        (599, "", APIStatusError),
    ],
)
def test_status_errors(
    server: Server, make_client: Callable[..., ChatBotKitClient], status: int, code: str, kind: type[APIStatusError]
) -> None:
    server.script = [error(status, code, "some message")]
    with pytest.raises(APIStatusError) as raised:
        make_client(retries=0).get("/contact/list")
    assert type(raised.value) is kind
    assert (raised.value.status, raised.value.code, raised.value.message) == (status, code, "some message")


@pytest.mark.parametrize("body", [b"", b"null", b'"no"', b"\xff", b'{"code": 1, "message": []}'])
def test_status_error_with_a_strange_body(server: Server, client: ChatBotKitClient, body: bytes) -> None:
    server.script = [reply(404, body)]
    with pytest.raises(NotFound) as raised:
        client.get("/contact/list")
    assert raised.value.code == ""


def test_messages_are_fit_for_a_log(server: Server, client: ChatBotKitClient) -> None:
    message = f"no\r\n{SECRET} for ann.lee@example.com or bob%40example.com, \x1b[31m" + "x" * 500
    server.script = [error(400, f"{SECRET}\n", message)]
    with pytest.raises(APIStatusError) as raised:
        client.get("/contact/list")
    text = str(raised.value)
    assert "a•••@example.com or b•••%40example.com" in text
    assert text.isprintable()
    assert SECRET not in text
    assert "ann.lee" not in text
    assert len(raised.value.message) == 200


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"<!DOCTYPE html><html></html>", "HTML, not JSON: is CHATBOTKIT_API_URL"),
        (b'\n <?xml version="1.0"?>', "HTML, not JSON"),
        (b"null", "not a JSON object"),
        (b"[]", "not a JSON object"),
        (b'{"id": ', "not a JSON object"),
        (b'{"id": "\xff"}', "not a JSON object"),
        (b'{"id": ' + b"9" * 5000 + b"}", "not a JSON object"),
        (b'{"a":' * 200_000 + b"1" + b"}" * 200_000, "not a JSON object"),
        (b"[" * 200_000, "not a JSON object"),
        (b"\x1f\x8b\x08\x00\x00\x00\x00\x00", "not a JSON object"),
    ],
)
def test_malformed_answer(server: Server, client: ChatBotKitClient, body: bytes, sentence: str) -> None:
    server.script = [reply(200, body)]
    with pytest.raises(APIError, match=sentence):
        client.get("/contact/list")
    assert len(server.requests) == 1


def test_half_an_emoji_is_replaced(server: Server, client: ChatBotKitClient) -> None:
    server.script = [reply(200, rb'{"name": "\ud83d\ude00 \ud83d"}')]
    assert client.get("/contact/list") == {"name": "😀 ?"}


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 999999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3b9ac9ff\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 400 Bad\r\nContent-Length: 999999999\r\n\r\n",
    ],
)
def test_oversized_answer(
    server: Server, client: ChatBotKitClient, monkeypatch: pytest.MonkeyPatch, head: bytes
) -> None:
    monkeypatch.setattr("flask_chatbotkit_auth.upstream.transport.MAX_ANSWER", 100_000)
    server.script = [hold(head + b"x" * 200_000)]
    with pytest.raises(APIError, match="larger than 100000 bytes"):
        client.get("/contact/list")


def test_redirect_is_not_followed(make_server: Callable[[], Server], server: Server, client: ChatBotKitClient) -> None:
    other = make_server()
    for status in (301, 302, 303, 307, 308):
        server.script = [hold(f"HTTP/1.1 {status} Moved\r\nLocation: {other.origin}/\r\n\r\n".encode() + b"x" * 100)]
        for call in (client.get, client.post, client.stream):
            with pytest.raises(APIStatusError, match="CHATBOTKIT_API_URL") as raised:
                call("/contact/list")
            assert raised.value.status == status
    assert other.requests == []


# Answers that are late or break off


@pytest.mark.parametrize(
    ("data", "endless"),
    [
        (b"", b"H"),
        (b"HTTP/1.1 200 OK\r\nX-Slow: ", b"x"),
        (b"HTTP/1.1 200 OK\r\n", b"X-Slow: 1\r\n"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n", b" "),
        (b"HTTP/1.1 200 OK\r\n\r\n", b" "),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;", b"x"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"X-Slow: 1\r\n"),
        (b"HTTP/1.1 503 No\r\nContent-Length: 9999\r\n\r\n", b" "),
    ],
)
def test_dripping_answer_ends_in_time(
    server: Server, make_client: Callable[..., ChatBotKitClient], data: bytes, endless: bytes
) -> None:
    server.script = [drip(data, endless)]
    with pytest.raises(APITimeout, match=r"within 0\.1 seconds") as raised:
        make_client(timeout=0.1, retries=0).get("/contact/list")
    assert raised.value.maybe_sent
    assert server.hung_up.wait(10)


ANSWER = reply(200, USER)
CHUNKED_ANSWER = chunked(b'{"id":', b'"u1"}')


@pytest.mark.parametrize("end", range(len(ANSWER)))
def test_answer_cut_at_every_byte(server: Server, make_client: Callable[..., ChatBotKitClient], end: int) -> None:
    server.script = [cut(ANSWER[:end])]
    with pytest.raises(APIConnectionError) as raised:
        make_client(retries=0).get("/contact/list")
    assert raised.value.maybe_sent


@pytest.mark.parametrize("end", range(len(CHUNKED_ANSWER) - len(b"0\r\n\r\n")))
def test_chunked_answer_cut_at_every_byte(
    server: Server, make_client: Callable[..., ChatBotKitClient], end: int
) -> None:
    server.script = [cut(CHUNKED_ANSWER[:end])]
    with pytest.raises(APIError):
        make_client(retries=0).get("/contact/list")


def test_exceptions_do_not_show_the_query(
    server: Server, refused: str, make_client: Callable[..., ChatBotKitClient]
) -> None:
    server.script = [cut(b"")]
    for origin in (server.origin, refused):
        with pytest.raises(APIConnectionError) as raised:
            make_client(base_url=origin).get("/contact/list", {"meta.email": "ann@example.com"})
        assert "ann" not in str(raised.value)
        assert SECRET not in str(raised.value)
        assert raised.value.__cause__ is None
        assert raised.value.__context__ is None


def test_logs_mask_addresses(server: Server, client: ChatBotKitClient, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    server.script = [b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nno header\r\n\r\n{}"]
    client.get("/contact/list", {"meta.email": "ann@example.com"})
    assert "a•••%40example.com" in caplog.text
    assert "ann" not in caplog.text
    assert SECRET not in caplog.text


# Retries

FAULTS: dict[str, Answer] = {
    "dropped": cut(b""),
    "truncated": cut(ANSWER[:-1]),
    "late": hold(),
    **{str(status): error(status) for status in (429, 500, 502, 503, 504)},
}
FINAL: dict[str, Answer] = {
    "limits": error(429, "LIMITS_REACHED"),
    "html": reply(200, b"<html>"),
    **{str(status): error(status) for status in (301, 400, 401, 403, 404, 408, 409, 501)},
}
CALLS: dict[str, Callable[[ChatBotKitClient], dict[str, Any]]] = {
    "read": lambda client: client.get("/contact/list"),
    "ensure": lambda client: client.post("/contact/ensure", {}, idempotent=True),
    "create": lambda client: client.post("/contact/create", {}),
    "stream": lambda client: next(client.stream("/conversation/complete")),
}


@pytest.mark.parametrize("call", ["read", "ensure"])
@pytest.mark.parametrize("fault", FAULTS)
def test_faults_in_passing_are_retried(
    server: Server, make_client: Callable[..., ChatBotKitClient], pauses: list[float], call: str, fault: str
) -> None:
    client = make_client(timeout=0.5)
    server.script = [FAULTS[fault], FAULTS[fault], ANSWER]
    assert CALLS[call](client) == USER
    assert len(server.requests) == 3
    assert 0.125 <= pauses[0] <= 0.25
    assert pauses[1] <= 0.5
    assert sum(pauses) <= 0.5


@pytest.mark.parametrize("call", ["read", "ensure"])
@pytest.mark.parametrize("fault", ["dropped", "503"])
def test_retries_end(server: Server, client: ChatBotKitClient, pauses: list[float], call: str, fault: str) -> None:
    server.script = [FAULTS[fault]]
    with pytest.raises(APIError):
        CALLS[call](client)
    assert len(server.requests) == 3
    assert len(pauses) == 2


@pytest.mark.parametrize(
    ("call", "fault"),
    [("create", fault) for fault in FAULTS] + [("stream", fault) for fault in FAULTS if fault != "truncated"],
)
def test_writes_that_may_have_arrived_are_not_repeated(
    server: Server, make_client: Callable[..., ChatBotKitClient], call: str, fault: str
) -> None:
    server.script = [FAULTS[fault], ANSWER]
    with pytest.raises(APIError):
        CALLS[call](make_client(timeout=0.3))
    assert len(server.requests) == 1


@pytest.mark.parametrize("call", ["read", "ensure", "create"])
@pytest.mark.parametrize("fault", FINAL)
def test_final_answers_are_not_retried(server: Server, client: ChatBotKitClient, call: str, fault: str) -> None:
    server.script = [FINAL[fault], ANSWER]
    with pytest.raises(APIError):
        CALLS[call](client)
    assert len(server.requests) == 1


@pytest.mark.parametrize("call", CALLS)
def test_refused_connections_are_retried(
    refused: str, make_client: Callable[..., ChatBotKitClient], pauses: list[float], call: str
) -> None:
    with pytest.raises(APIConnectionError) as raised:
        CALLS[call](make_client(base_url=refused, retries=3))
    assert not raised.value.maybe_sent
    assert len(pauses) == 3


@pytest.mark.parametrize(
    ("value", "pause"),
    [("3", 3), ("1.5", 1.5), (formatdate(1_700_000_004, usegmt=True), 4), ("Tue, 14 Nov 2023 23:13:24 +0100", -1)],
)
def test_retry_after(
    server: Server, make_client: Callable[..., ChatBotKitClient], pauses: list[float], value: str, pause: float
) -> None:
    expected = 4 if pause < 0 else pause
    for status in (429, 503):
        pauses.clear()
        server.script = [error(status, Retry_After=value), ANSWER]
        assert make_client(clock=lambda: 1_700_000_000).get("/contact/list") == USER
        assert pauses == [expected]


@pytest.mark.parametrize("value", ["0", "-1", "soon", "", "nan", "9" * 400, formatdate(0), "Tue, 99 Nov 2023"])
def test_retry_after_that_asks_for_nothing(
    server: Server, client: ChatBotKitClient, pauses: list[float], value: str
) -> None:
    server.script = [error(429, Retry_After=value), ANSWER]
    assert client.get("/contact/list") == USER
    assert 0.125 <= pauses[0] <= 0.25


@pytest.mark.parametrize("value", ["11", formatdate(1_700_000_060)])
def test_retry_after_that_is_too_long(
    server: Server, make_client: Callable[..., ChatBotKitClient], pauses: list[float], value: str
) -> None:
    server.script = [error(429, Retry_After=value)]
    with pytest.raises(TooManyRequests) as raised:
        make_client(timeout=10, clock=lambda: 1_700_000_000).get("/contact/list")
    assert raised.value.retry_after in (11, 60)
    assert pauses == []


def test_retry_after_counts_over_all_tries(server: Server, client: ChatBotKitClient, pauses: list[float]) -> None:
    server.script = [error(503, Retry_After="6")]
    with pytest.raises(APIStatusError):
        client.get("/contact/list")
    assert pauses == [6]


# Connections


def test_connection_is_kept(server: Server, client: ChatBotKitClient) -> None:
    server.script = [ANSWER, error(404), chunked(b"{}"), ANSWER]
    for path in ("/contact/list",) * 5:
        try:
            client.get(path)
        except NotFound:
            pass
    assert [request.connection for request in server.requests] == [1] * 5


def test_connection_closed_while_idle(server: Server, client: ChatBotKitClient, pauses: list[float]) -> None:
    server.script = [cut(ANSWER), ANSWER]
    client.post("/contact/create")
    assert server.hung_up.wait(10)
    client.post("/contact/create")
    assert [request.connection for request in server.requests] == [1, 2]
    assert pauses == []


def test_connection_with_more_than_one_answer(server: Server, client: ChatBotKitClient) -> None:
    server.script = [ANSWER + reply(200, {"id": "somebody else"}), ANSWER]
    assert client.get("/contact/list") == USER
    assert client.get("/contact/list") == USER


def test_each_thread_has_its_own_connection(server: Server, client: ChatBotKitClient) -> None:
    barrier = threading.Barrier(4)

    def work() -> None:
        barrier.wait()
        for _ in range(3):
            client.get(f"/contact/{threading.get_ident()}/fetch")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(server.requests) == 12
    assert len({(request.connection, request.target) for request in server.requests}) == 4


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_forked_process_has_its_own_connection(server: Server, client: ChatBotKitClient) -> None:
    server.script = [ANSWER]
    client.get("/contact/list")
    child = os.fork()
    if not child:
        status = 1
        try:
            status = 0 if client.get("/contact/list") == USER else 2
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    client.get("/contact/list")
    assert [request.connection for request in server.requests] == [1, 2, 1]


def test_cookies_are_not_kept(server: Server, client: ChatBotKitClient) -> None:
    server.script = [reply(200, {}, Set_Cookie="a=b; Path=/")]
    client.get("/contact/list")
    client.get("/contact/list")
    assert "cookie" not in server.requests[1].headers
    assert len(client._transport._session().cookies) == 0


def test_proxy_of_the_environment(
    server: Server, make_client: Callable[..., ChatBotKitClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", server.origin)
    monkeypatch.setenv("no_proxy", "direct.example")
    client = make_client(base_url="http://api.example", timeout=0.1, retries=0)
    client.get("/contact/list")
    assert server.targets == ["http://api.example/api/v1/contact/list"]
    server.script = [drip(b"HTTP/1.1 200 OK\r\n", b"X-Slow: 1\r\n")]
    with pytest.raises(APITimeout):
        client.get("/contact/list")


def test_netrc_does_not_replace_the_secret(
    server: Server,
    make_client: Callable[..., ChatBotKitClient],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    netrc = tmp_path_factory.mktemp("home") / "netrc"
    netrc.write_text("machine 127.0.0.1 login a password b")
    monkeypatch.setenv("NETRC", str(netrc))
    make_client().get("/contact/list")
    assert server.requests[0].headers["authorization"] == f"Bearer {SECRET}"


# Streams

EVENTS = [{"type": "token", "data": {"token": token}} for token in ("Hel", "lö", "\u2028")]
LINES = [json.dumps(event, ensure_ascii=False).encode() + b"\n" for event in EVENTS]
WHOLE = b"\n".join(LINES) + b"\r\n\n"


@pytest.mark.parametrize(
    "answer",
    [
        chunked(*LINES),
        chunked(WHOLE),
        chunked(*(WHOLE[index : index + 1] for index in range(len(WHOLE)))),
        chunked(WHOLE.rstrip()),
        reply(200, WHOLE),
        cut(b"HTTP/1.1 200 OK\r\n\r\n" + WHOLE),
    ],
)
def test_stream(server: Server, client: ChatBotKitClient, answer: Answer) -> None:
    server.script = [answer]
    assert list(client.stream("/conversation/complete", {"messages": []})) == EVENTS
    (request,) = server.requests
    assert (request.method, request.body) == ("POST", b'{"messages": []}')
    assert request.headers["accept"] == "application/jsonl"


@pytest.mark.parametrize("answer", [chunked(*LINES), reply(200, WHOLE)])
def test_stream_keeps_the_connection(server: Server, client: ChatBotKitClient, answer: bytes) -> None:
    server.script = [answer, answer, ANSWER]
    list(client.stream("/conversation/complete"))
    list(client.run_as("u1").stream("/conversation/complete"))
    assert client.get("/contact/list") == USER
    assert [request.connection for request in server.requests] == [1, 1, 1]


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n"])
def test_stream_yields_what_has_arrived(server: Server, client: ChatBotKitClient, head: bytes) -> None:
    server.script = [hold(head + LINES[0] + LINES[1][:9])]
    events = client.stream("/conversation/complete")
    assert next(events) == EVENTS[0]
    events.close()
    assert server.hung_up.is_set() is False


def test_stream_may_outlast_the_timeout(server: Server, make_client: Callable[..., ChatBotKitClient]) -> None:
    server.script = [drip(b"HTTP/1.1 200 OK\r\n\r\n", LINES[0])]
    events = make_client(timeout=0.2).stream("/conversation/complete")
    assert [next(events) for _ in range(40)] == EVENTS[:1] * 40
    events.close()
    assert server.hung_up.wait(10)


@pytest.mark.parametrize("started", [True, False])
def test_closing_a_stream_closes_the_connection(server: Server, client: ChatBotKitClient, started: bool) -> None:
    server.script = [drip(chunked(LINES[0], end=b""), b"1\r\n\n\r\n"), ANSWER]
    events = client.stream("/conversation/complete")
    if started:
        next(events)
    events.close()
    assert server.hung_up.wait(10)
    assert client.get("/contact/list") == USER
    assert [request.connection for request in server.requests] == [1, 2]


@pytest.mark.parametrize(("status", "kind"), [(401, NotAuthenticated), (404, NotFound), (503, APIStatusError)])
def test_stream_error_before(server: Server, client: ChatBotKitClient, status: int, kind: type[APIStatusError]) -> None:
    server.script = [error(status)]
    with pytest.raises(kind):
        client.stream("/conversation/complete")
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (cut(chunked(LINES[0], end=b"")), APIConnectionError),
        (cut(chunked(LINES[0], end=b"9\r\nabc")), APIConnectionError),
        (chunked(LINES[0], end=b"what\r\n"), APIConnectionError),
        (cut(reply(200, LINES[0], Content_Length="999")), APIConnectionError),
        (hold(chunked(LINES[0], end=b"")), APITimeout),
        (chunked(LINES[0], b"[]\n"), APIError),
        (chunked(LINES[0], b"<html>\n"), APIError),
        (chunked(LINES[0], LINES[1][:9]), APIError),
        (hold(chunked(LINES[0], b"x" * 1_100_000, end=b"")), APIError),
    ],
)
def test_stream_error_in_the_middle(
    server: Server, make_client: Callable[..., ChatBotKitClient], answer: Answer, kind: type[APIError]
) -> None:
    server.script = [answer]
    events = make_client(timeout=0.3).stream("/conversation/complete")
    assert next(events) == EVENTS[0]
    with pytest.raises(APIError) as raised:
        next(events)
    assert type(raised.value) is kind
    assert raised.value.__context__ is None
    assert list(events) == []
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("message", "kind", "retry_after", "tries"),
    [
        ("You have exceeded your allocated rate limits: rate/poll", TooManyRequests, 60, 3),
        ("You have exceeded your allocated rate limits: rate/message", TooManyRequests, 60, 3),
        ("You have reached the limits of your plan", LimitsReached, None, 1),
    ],
)
def test_a_rate_is_to_wait_for_and_a_plan_is_not(
    chatbotkit_sandbox: Sandbox,
    pauses: list[float],
    message: str,
    kind: type[APIStatusError],
    retry_after: int | None,
    tries: int,
) -> None:
    chatbotkit_sandbox.fail("*", status=429, code="LIMITS_REACHED", message=message)
    client = ChatBotKitClient("sk-test", chatbotkit_sandbox.url, sleep=pauses.append)
    with pytest.raises(APIStatusError) as raised:
        client.get("/contact/list")
    assert type(raised.value) is kind
    assert getattr(raised.value, "retry_after", None) == retry_after
    assert len(chatbotkit_sandbox.requests) == tries
    assert sum(pauses) < 1
    chatbotkit_sandbox.requests.clear()
    with pytest.raises(kind):
        client.post("/contact/create", {})
    assert len(chatbotkit_sandbox.requests) == 1


def test_a_read_goes_on_where_a_rate_has_room_again(chatbotkit_sandbox: Sandbox, pauses: list[float]) -> None:
    chatbotkit_sandbox.fail("*/contact/list", status=429, times=1)
    assert ChatBotKitClient("sk-test", chatbotkit_sandbox.url, sleep=pauses.append).get("/contact/list")["items"] == []
    assert len(pauses) == 1
