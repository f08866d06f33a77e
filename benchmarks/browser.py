"""A browser in as few lines as measuring needs: cookies, forms, and what it received."""

from __future__ import annotations

import http.client
import json as jsonlib
import re
import socket
from dataclasses import dataclass
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import urlencode

PATIENCE = 60
"""Seconds that an answer may take."""

BROWSER = {
    "sec-ch-ua": '"Chromium";v="140", "Not=A?Brand";v="24", "Google Chrome";v="140"',
    "sec-ch-ua-mobile": "?0",
    "sec-ch-ua-platform": '"Windows"',
    "User-Agent": "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/140.0.0.0 Safari/537.36",
    "Accept-Encoding": "gzip, deflate, br, zstd",
    "Accept-Language": "en-GB,en;q=0.9,de;q=0.8",
}
NAVIGATION = {
    **BROWSER,
    "Upgrade-Insecure-Requests": "1",
    "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8",
    "Sec-Fetch-Site": "same-origin",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-User": "?1",
    "Sec-Fetch-Dest": "document",
}
FETCH = {
    **BROWSER,
    "Accept": "application/json",
    "Sec-Fetch-Site": "same-origin",
    "Sec-Fetch-Mode": "cors",
    "Sec-Fetch-Dest": "empty",
}
"""The headers of Chrome for a page, and for a script's ``fetch``."""

TOKEN = re.compile(r'name="(csrf_token|csrfmiddlewaretoken)"[^>]*value="([^"]+)"')


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    location: str | None
    body: bytes
    code: str | None
    """The code of a mail, where a hook tells it."""


class Browser:
    """One person's browser; each request has a connection of its own, as under gunicorn's ``sync`` worker."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.origin = f"http://127.0.0.1:{port}"
        self.cookies: dict[str, str] = {}
        self.received = 0
        """Bytes of bodies so far."""

    @property
    def cookie(self) -> str:
        """The ``Cookie`` header that goes with each request."""
        return "; ".join(f"{name}={value}" for name, value in self.cookies.items())

    def get(self, path: str) -> Answer:
        """Return the answer to a GET of a page."""
        return self._request("GET", path, None, NAVIGATION)

    def get_json(self, path: str) -> Any:
        """Return what a script's GET is answered with."""
        return jsonlib.loads(self._request("GET", path, None, FETCH).body)

    def post(self, path: str, form: dict[str, str]) -> Answer:
        """Return the answer to a form."""
        headers = {**NAVIGATION, "Origin": self.origin, "Content-Type": "application/x-www-form-urlencoded"}
        return self._request("POST", path, urlencode(form).encode(), headers)

    def post_json(self, path: str, body: dict[str, Any], token: str) -> Answer:
        """Return the answer to a JSON object, sent with a CSRF token."""
        headers = {**FETCH, "Origin": self.origin, "Content-Type": "application/json", "X-CSRFToken": token}
        return self._request("POST", path, jsonlib.dumps(body).encode(), headers)

    def follow(self, answer: Answer) -> Answer:
        """Return the answer that redirects lead to."""
        while answer.location is not None:
            answer = self.get(answer.location)
        return answer

    def request_bytes(self, path: str) -> bytes:
        """Return a GET as it goes over the wire, to be sent again and again."""
        headers = {"Host": f"127.0.0.1:{self._port}", "Connection": "close", **NAVIGATION, **self._cookies()}
        lines = (f"{name}: {value}\r\n" for name, value in headers.items())
        return f"GET {path} HTTP/1.1\r\n{''.join(lines)}\r\n".encode()

    def repeat(self, request: bytes, times: int) -> None:
        """Send the bytes of a request again and again, doing as little as possible with the answers.

        :raises RuntimeError: an answer is not 200.
        """
        for _ in range(times):
            with socket.create_connection(("127.0.0.1", self._port), timeout=PATIENCE) as connection:
                connection.sendall(request)
                answer = b""
                while received := connection.recv(65536):
                    answer += received
            if b" 200 " not in answer[:16]:
                raise RuntimeError(f"the page answered {answer[:200]!r}")

    def _request(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE)
        try:
            connection.request(method, path, body, {"Connection": "close", **headers, **self._cookies()})
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        self.received += len(content)
        for header in answer.headers.get_all("Set-Cookie") or ():
            for name, morsel in SimpleCookie(header).items():
                if morsel.value and morsel["max-age"] != "0":
                    self.cookies[name] = morsel.value
                else:
                    self.cookies.pop(name, None)
        return Answer(answer.status, answer.getheader("Location"), content, answer.getheader("X-Code"))

    def _cookies(self) -> dict[str, str]:
        return {"Cookie": self.cookie} if self.cookies else {}


def form_token(answer: Answer) -> dict[str, str]:
    """Return the hidden field of a page's form that proves where it came from."""
    found = TOKEN.search(answer.body.decode())
    if found is None:
        raise RuntimeError(f"no form in an answer of status {answer.status}: {answer.body[:300]!r}")
    return {found[1]: found[2]}
