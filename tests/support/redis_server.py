"""A Redis of a test's own, with settings that the shared one must not have."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis


@contextmanager
def redis_server(folder: Path, *options: str) -> Iterator[str]:
    """Start ``redis-server`` with ``options`` at a free port, and give its URL."""
    program = shutil.which("redis-server")
    assert program is not None
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    folder.mkdir(parents=True, exist_ok=True)
    quiet = ("--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", str(folder))
    with open(folder / "redis.log", "wb") as log:
        process = subprocess.Popen([program, "--port", str(port), *quiet, *options], stdout=log, stderr=log)
    url = f"redis://127.0.0.1:{port}/0"
    try:
        _wait_for(url)
        yield url
    finally:
        process.terminate()
        process.wait(10)


def _wait_for(url: str) -> None:
    # Old clients do not retry a connection that is refused.
    with redis.Redis.from_url(url) as client:
        for _ in range(200):
            try:
                client.ping()
            except redis.ConnectionError:
                time.sleep(0.05)
            else:
                return
    raise TimeoutError(f"no Redis answered at {url}")
