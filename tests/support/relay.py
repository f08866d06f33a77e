"""A way to a server on which an answer can be lost."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class Relay:
    """Hands bytes on between clients and a server, until it is told to lose an answer."""

    def __init__(self, host: str, port: int) -> None:
        self.server = (host, port)
        """Where clients get to that connect from now on."""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._losing = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def lose_the_next_answer(self) -> None:
        """Close the connection when the server answers next, and hand nothing of that on."""
        self._losing.set()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self.server)
                threading.Thread(target=self._pass, args=(client, server, False), daemon=True).start()
                threading.Thread(target=self._pass, args=(server, client, True), daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket, answers: bool) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if answers and self._losing.is_set():
                    self._losing.clear()
                    break
                target.sendall(data)
        for each in (source, target):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()


class Pooler(Relay):
    """Stands before PostgreSQL, and refuses settings when a client connects, as the RDS Proxy of Amazon does."""

    def _pass(self, source: socket.socket, target: socket.socket, answers: bool) -> None:
        if not answers:
            begin = self._begin(source)
            if b"\0options\0" in begin:
                fields = ("SFATAL", "VFATAL", "C0A000", "MFeature not supported: command-line options", "", "")
                text = "\0".join(fields).encode()
                source.sendall(b"E" + struct.pack("!I", len(text) + 4) + text)
                target.close()
                return
            target.sendall(begin)
        super()._pass(source, target, answers)

    @staticmethod
    def _begin(client: socket.socket) -> bytes:
        while True:
            begin = client.recv(65536)
            if len(begin) != 8:
                return begin
            client.sendall(b"N")  # it asks for TLS or Kerberos


@contextmanager
def relay(host: str, port: int, kind: type[Relay] = Relay) -> Iterator[Relay]:
    """Stand before a server."""
    relay = kind(host, port)
    try:
        yield relay
    finally:
        relay.close()
