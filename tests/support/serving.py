"""An application, served by a thread of this process over HTTP or HTTPS."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flask import Flask
from werkzeug.serving import make_server


@contextmanager
def served(
    app: Flask, certificate: tuple[Path, Path] | None = None, *, host: str = "127.0.0.1", port: int = 0
) -> Iterator[str]:
    """Serve an application on 127.0.0.1, and give its origin.

    :param certificate: the paths of a certificate and its key; with them it is served over HTTPS.
    :param host: the name that the origin has.
    :param port: 0 for any free one.
    """
    ssl_context = (str(certificate[0]), str(certificate[1])) if certificate else None
    server = make_server("127.0.0.1", port, app, threaded=True, ssl_context=ssl_context)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"{'https' if certificate else 'http'}://{host}:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
