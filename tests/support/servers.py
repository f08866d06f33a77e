"""What the attacks are made with: an application under gunicorn, a mailbox, and browsers that obey nobody."""

from __future__ import annotations

import itertools
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from email.message import Message
from email.parser import BytesParser
from email.policy import default
from pathlib import Path
from typing import Any

import requests
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session
from requests.adapters import HTTPAdapter

PATIENCE = 120
"""Seconds after which an answer is not coming: four workers start before the first, on a machine that may be busy."""

WORKERS = 4


class Mailbox:
    """Every mail that a real mail server on 127.0.0.1 has taken, by its recipient."""

    def __init__(self) -> None:
        self.port = 0
        self._mails: dict[str, list[Message]] = {}
        self._arrived = threading.Condition()

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:
        assert isinstance(envelope.content, bytes)
        mail = BytesParser(policy=default).parsebytes(envelope.content)
        with self._arrived:
            for recipient in envelope.rcpt_tos:
                self._mails.setdefault(recipient, []).append(mail)
            self._arrived.notify_all()
        return "250 OK"

    def to(self, address: str) -> list[Message]:
        """Return the mails to ``address``, oldest first."""
        return list(self._mails.get(address, ()))

    def codes(self, address: str) -> list[str]:
        """Return the codes that were sent to ``address``, oldest first."""
        return [str(mail["Subject"]).split()[0] for mail in self.to(address)]

    @property
    def recipients(self) -> list[str]:
        """Everybody who got a mail."""
        return list(self._mails)


@contextmanager
def mailbox() -> Iterator[Mailbox]:
    """Serve a mailbox over SMTP."""
    box = Mailbox()
    with socket.create_server(("127.0.0.1", 0)) as probe:
        box.port = probe.getsockname()[1]
    controller = Controller(box, hostname="127.0.0.1", port=box.port)
    controller.start()
    try:
        yield box
    finally:
        controller.stop()


@contextmanager
def gunicorn(
    instance: Path,
    environment: dict[str, str],
    *options: str,
    workers: int = WORKERS,
    log: Path | None = None,
    app: str = "gunicorn_app:create_app()",
    folder: Path = Path(__file__).parent,
) -> Iterator[str]:
    """Serve an application by real worker processes; give its origin.

    :param environment: what the application reads, beside the environment of the tests.
    :param options: further options of gunicorn.
    :param log: a file for all that the workers write.
    :param app: the application as gunicorn names it, and ``folder`` where its module is.
    """
    instance.mkdir(parents=True, exist_ok=True)
    # Bound here and handed down: the port is known at once, and nobody else can take it in between.
    with socket.create_server(("127.0.0.1", 0), backlog=512) as listener, ExitStack() as files:
        output = files.enter_context(open(log or instance / "gunicorn.log", "ab"))
        command = [sys.executable, "-m", "gunicorn", "--bind", f"fd://{listener.fileno()}", "--workers", str(workers)]
        process = subprocess.Popen(
            [*command, *options, app],
            cwd=folder,
            env={**os.environ, "PYTHONUNBUFFERED": "1", "SHOP_INSTANCE": str(instance), **environment},
            pass_fds=[listener.fileno()],
            stdout=output,
            stderr=output,
        )
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


_clients = itertools.count(2)


def new_client_address() -> str:
    """Return an address of this machine that no other client has used: for the application, somebody else."""
    number = next(_clients)
    return f"127.{1 + number // 65025}.{number // 255 % 255}.{1 + number % 254}"


class Browser:
    """A client with cookies and, unless told otherwise, an address of its own on the network.

    It sends whatever it is told to, as an attacker's does, with the form's token where there is one to have.
    """

    def __init__(self, origin: str, address: str | None = None) -> None:
        self.origin = origin
        self.session = requests.Session()
        self.session.trust_env = False
        # A connection that is kept may be closed by the server at the moment it is used again.
        self.session.headers["Connection"] = "close"
        self.session.mount("http://", _From(address or new_client_address()))

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        self.session.close()

    @property
    def cookies(self) -> dict[str, str]:
        return {str(name): str(value) for name, value in self.session.cookies.items()}

    @cookies.setter
    def cookies(self, cookies: dict[str, str]) -> None:
        self.session.cookies.clear()
        for name, value in cookies.items():
            self.session.cookies.set(name, value, domain="127.0.0.1", path="/")

    def send(self, method: str, path: str, **how: Any) -> requests.Response:
        """Send just this, and follow no redirect but that of a form to the page about what happened."""
        how = {"allow_redirects": False, "timeout": PATIENCE, **how}
        answer = self.session.request(method, self.origin + path, **how)
        if method == "POST" and "m=" in answer.headers.get("Location", ""):
            answer = self.session.get(self.origin + answer.headers["Location"], allow_redirects=False, timeout=PATIENCE)
        return answer

    def get(self, path: str, **how: Any) -> requests.Response:
        return self.send("GET", path, **how)

    def token(self) -> str:
        """Return the token that the forms of this browser must carry."""
        return str(self.get("/auth/session").json()["csrf_token"])

    def post(self, path: str, body: dict[str, Any], **how: Any) -> requests.Response:
        """Post JSON, with the token."""
        headers = {"X-CSRFToken": self.token(), **how.pop("headers", {})}
        return self.send("POST", path, json=body, headers=headers, **how)

    def ask(self, email: object, **fields: Any) -> requests.Response:
        return self.post("/auth/sign-in", {"email": email, **fields})

    def verify(self, code: object) -> requests.Response:
        return self.post("/auth/verify", {"code": code})

    @property
    def email(self) -> str | None:
        """The address of the person who is signed in here."""
        user = self.get("/auth/session").json()["user"]
        return str(user["email"]) if user else None


class _From(HTTPAdapter):
    def __init__(self, address: str) -> None:
        self._address = address
        super().__init__(max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, source_address=(self._address, 0), **kwargs)


def error(answer: requests.Response) -> tuple[int, str]:
    """Return the status and the error code of a JSON answer."""
    return answer.status_code, str(answer.json()["error"]["code"])


def raw(origin: str, request: bytes) -> bytes:
    """Write ``request`` to a connection as it is, and nothing after it; return all that comes back."""
    host, _, port = origin.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), PATIENCE) as connection:
        connection.settimeout(PATIENCE)
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while data := connection.recv(65536):
            answer += data
    return answer


def status_of(answer: bytes) -> int:
    """Return the status of an answer of :func:`raw`."""
    found = re.match(rb"HTTP/1\.[01] (\d{3}) ", answer)
    assert found, answer[:200]
    return int(found[1])
