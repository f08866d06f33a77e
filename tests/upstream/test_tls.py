"""The client over HTTPS, as it meets the hosted API: real certificates, trusted and not."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from flask_chatbotkit_auth import APIConnectionError, APITimeout, ChatBotKitClient
from tests.support.certificates import self_signed


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    drip = threading.Event()

    def do_GET(self) -> None:
        if self.path.endswith("/drip"):
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            while not self.drip.wait(0.02):
                self.wfile.write(b" ")
            self.close_connection = True
            return
        body = json.dumps({"items": [], "cursor": "", "port": self.client_address[1]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for number in range(3):
            line = json.dumps({"type": "token", "data": {"token": str(number)}}).encode() + b"\n"
            self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, format: str, *args: object) -> None:
        """Stay quiet."""


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    certificate, key = self_signed(tmp_path, "127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        httpd.daemon_threads = True
        httpd.socket = context.wrap_socket(httpd.socket, server_side=True)
        thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        Handler.drip.clear()
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
        yield f"https://127.0.0.1:{httpd.server_port}"
        Handler.drip.set()
        httpd.shutdown()
        thread.join()


def test_calls_share_one_secure_connection(server: str) -> None:
    client = ChatBotKitClient("sk-test", server)
    assert len({client.get("/contact/list")["port"] for _ in range(3)}) == 1


def test_events_stream_over_tls(server: str) -> None:
    events = ChatBotKitClient("sk-test", server).stream("/conversation/complete", {})
    assert [event["data"]["token"] for event in events] == ["0", "1", "2"]


def test_a_certificate_that_nobody_vouches_for_is_refused(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    with pytest.raises(APIConnectionError):
        ChatBotKitClient("sk-test", server, retries=0).get("/contact/list")


def test_a_drip_ends_at_the_deadline_over_tls(server: str) -> None:
    with pytest.raises(APITimeout):
        ChatBotKitClient("sk-test", server, timeout=0.3, retries=0).get("/contact/drip")
