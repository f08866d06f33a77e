"""Servers other than gunicorn, each started as its own documentation says, with the application of the attacks."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.servers import PATIENCE

FOLDER = Path(__file__).parent


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@contextmanager
def started(command: list[str], port: int, instance: Path, environment: dict[str, str]) -> Iterator[str]:
    """Start ``command``, wait until it listens at ``port``, and give its origin."""
    instance.mkdir(parents=True, exist_ok=True)
    path = os.pathsep.join([str(FOLDER), str(FOLDER.parent.parent)])
    surroundings = {
        **os.environ,
        "PYTHONPATH": path,
        "PYTHONUNBUFFERED": "1",
        "SHOP_INSTANCE": str(instance),
        **environment,
    }
    with open(instance / "server.log", "ab") as log:
        process = subprocess.Popen(command, cwd=FOLDER, env=surroundings, stdout=log, stderr=log)
    try:
        _wait(process, port, instance / "server.log")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def waitress(port: int) -> list[str]:
    """Return the command of waitress."""
    return [sys.executable, "-m", "waitress", f"--listen=127.0.0.1:{port}", "--call", "gunicorn_app:create_app"]


def hypercorn(port: int) -> list[str]:
    """Return the command of hypercorn, which speaks ASGI."""
    return [
        sys.executable,
        "-m",
        "hypercorn",
        "--bind",
        f"127.0.0.1:{port}",
        "--workers",
        "2",
        "tests.support.asgi_app:app",
    ]


def uwsgi(program: str, port: int, *options: str) -> list[str]:
    """Return the command of uWSGI with Debian's plugin for Python, in this environment's packages, for :func:`nginx`."""
    return [
        program,
        *("--plugin", "python3", "--socket", f"127.0.0.1:{port}", "--master", "--die-on-term"),
        *("--processes", "4", "--threads", "4", "--enable-threads", "--need-app"),
        # By path and not as a virtual environment: its standard library may be another's than the plugin's.
        *("--pythonpath", sysconfig.get_path("purelib"), "--pythonpath", str(FOLDER.parent.parent)),
        *("--pythonpath", str(FOLDER), "--module", "gunicorn_app:create_app()"),
        *options,
    ]


@contextmanager
def nginx(program: str, upstream: int, folder: Path) -> Iterator[str]:
    """Serve what speaks the protocol of uWSGI at the port ``upstream``; give the origin."""
    port = free_port()
    folder.mkdir(parents=True, exist_ok=True)
    places = "".join(
        f"{each}_temp_path {folder / each};" for each in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log; events {{}}\n"
        f"http {{ access_log off; {places} server {{ listen 127.0.0.1:{port};\n"
        f"location / {{ include /etc/nginx/uwsgi_params; uwsgi_pass 127.0.0.1:{upstream}; }} }} }}\n"
    )
    command = [program, "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log"), "-p", str(folder)]
    with started(command, port, folder, {}) as origin:
        yield origin


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    pause = threading.Event()
    for _ in range(20 * PATIENCE):
        assert process.poll() is None, log.read_text()
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            pause.wait(0.05)
        else:
            return
    raise AssertionError(f"nothing listens: {log.read_text()}")
