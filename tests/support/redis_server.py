"""A Redis of a test's own, with settings that the shared one must not have."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis
from redis.backoff import ConstantBackoff
from redis.retry import Retry


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
        patience = Retry(ConstantBackoff(0.05), 200)
        with redis.Redis.from_url(url, retry=patience, retry_on_error=[redis.ConnectionError]) as client:
            client.ping()
        yield url
    finally:
        process.terminate()
        process.wait(10)
