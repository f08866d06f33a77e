"""A mail server for measuring: it takes every mail and keeps the newest to each address."""

from __future__ import annotations

import re
from socketserver import StreamRequestHandler, ThreadingTCPServer
from threading import Thread

_RECIPIENT = re.compile(rb"rcpt to:\s*<([^>]+)>", re.IGNORECASE)


class Mailbox(ThreadingTCPServer):
    """Takes mails on a port of its own from ``with`` to the end of it."""

    daemon_threads = True
    request_queue_size = 1024

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Conversation)
        self.port: int = self.server_address[1]
        self.newest: dict[str, bytes] = {}
        """Mails by recipient."""

    def __enter__(self) -> Mailbox:
        Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()


class _Conversation(StreamRequestHandler):
    disable_nagle_algorithm = True
    server: Mailbox

    def handle(self) -> None:
        recipient = ""
        self.wfile.write(b"220 ready\r\n")
        for line in self.rfile:
            if found := _RECIPIENT.match(line):
                recipient = found[1].decode()
            elif line.upper() == b"DATA\r\n":
                self.wfile.write(b"354 go on\r\n")
                self.server.newest[recipient] = b"".join(iter(self.rfile.readline, b".\r\n"))
            elif line.upper() == b"QUIT\r\n":
                self.wfile.write(b"221 goodbye\r\n")
                return
            self.wfile.write(b"250 fine\r\n")
