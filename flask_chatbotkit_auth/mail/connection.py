"""A connection to a mail server, with one deadline for all its steps."""

from __future__ import annotations

import smtplib
import socket
import ssl
import time
from io import BufferedReader, RawIOBase
from typing import Any


class Host(smtplib.SMTP):
    """A connection with a number of seconds for all its steps together."""

    def __init__(
        self, server: str, port: int | None, seconds: float, own_name: str, context: ssl.SSLContext | None
    ) -> None:
        self._end = time.monotonic() + seconds
        self._tls = context
        self.named: bool = False
        """Whether sender and recipient were taken, and the mail itself was next."""

        super().__init__(server, port or (465 if context else 25), own_name, timeout=seconds)

    def data(self, msg: Any) -> tuple[int, bytes]:
        self.named = True
        if not isinstance(msg, bytes) or msg[:1] == b"." or b"\n." in msg:
            return super().data(msg)  # doubles the dots at the beginning of lines
        # Without such a dot, smtplib's search for one costs more than the rest of the conversation.
        self.putcmd("data")
        code, answer = self.getreply()
        if code != 354:
            raise smtplib.SMTPDataError(code, answer)
        self.send(msg.removesuffix(b"\r\n") + b"\r\n.\r\n")
        return self.getreply()

    def hurry(self, seconds: float) -> None:
        """Set the deadline to at most ``seconds`` from now."""
        self._end = min(self._end, time.monotonic() + seconds)

    def limit(self, connection: socket.socket | None = None) -> float:
        """Set the time-out of the next step to the time that is left."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError
        connection = connection or self.sock
        if connection is not None:
            connection.settimeout(left)
        return left

    def _get_socket(self, host: str, port: int, timeout: float) -> Any:
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        for number, address in enumerate(addresses, 1):
            try:
                # An address that does not answer must leave time for the next ones.
                patience = self.limit() / (len(addresses) - number + 1)
                connection = socket.create_connection((str(address[4][0]), port), patience)
            except OSError:
                if number == len(addresses):
                    raise
                continue
            break
        self.limit(connection)
        if self._tls is None:
            return connection
        try:
            return self._tls.wrap_socket(connection, server_hostname=host)
        except BaseException:
            connection.close()
            raise

    def send(self, s: Any) -> None:
        self.limit()
        super().send(s)

    def getreply(self) -> tuple[int, bytes]:
        if self.file is None:
            self.file: Any = BufferedReader(_Answers(self))
        return super().getreply()

    def login(self, user: str, password: str, *, initial_response_ok: bool = True) -> tuple[int, bytes]:
        return super().login(_Utf8(user), _Utf8(password), initial_response_ok=initial_response_ok)

    def auth(self, mechanism: str, authobject: Any, *, initial_response_ok: bool = True) -> tuple[int, bytes]:
        def answer(challenge: bytes | None = None) -> str | None:
            text = authobject() if challenge is None else authobject(challenge)
            return None if text is None else _Utf8(text)

        return super().auth(mechanism, answer, initial_response_ok=initial_response_ok)  # type: ignore[arg-type]


class _Answers(RawIOBase):
    """The answers of the server, read before the deadline, however slowly they arrive."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._host.limit()
        assert self._host.sock is not None  # noqa: S101  # it has just sent something
        return self._host.sock.recv_into(buffer)


class _Utf8(str):
    """A user name or password. smtplib would encode it as ASCII, but RFC 4616 requires UTF-8."""

    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
        return super().encode("utf-8", errors)
