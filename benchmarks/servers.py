"""Servers to measure: gunicorn with one of our applications, its CPU time by the operating system's own account."""

from __future__ import annotations

import importlib.util
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from .browser import Browser
from .mailbox import Mailbox


class Server:
    """One application under gunicorn on a port of its own, from ``with`` to the end of it.

    :param application: a module of :mod:`benchmarks.apps`.
    :param settings: more of the environment, such as ``BENCHMARK_API``.
    :param workers: how many processes.
    :param threads: how many threads each; one means gunicorn's ``sync`` worker.
    """

    patience = 60
    """Seconds until it is up."""

    def __init__(
        self, application: str, settings: Mapping[str, str] | None = None, *, workers: int = 1, threads: int = 1
    ) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="benchmark-")
        self.folder = Path(self._folder.name)
        (self.folder / "workers").mkdir()
        self._mailbox = Mailbox()
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.port: int = self._socket.getsockname()[1]
        # Told as variables, so that an application can be started by hand as well.
        own = {"BENCHMARK_FOLDER": str(self.folder), "BENCHMARK_MAIL_PORT": str(self._mailbox.port)}
        self._log = (self.folder / "log").open("w")
        self._process = subprocess.Popen(
            self._command(application, self._socket.fileno(), workers, threads),
            cwd=Path(__file__).parents[1],
            env={**os.environ, **(settings or {}), **own},
            pass_fds=[self._socket.fileno()],
            stdout=self._log,
            stderr=self._log,
        )
        self._workers = workers

    def _command(self, application: str, socket: int, workers: int, threads: int) -> list[str]:
        command = [sys.executable, "-m", "gunicorn", f"benchmarks.apps.{application}:application"]
        command += ["--bind", f"fd://{socket}", "--workers", str(workers), "--log-level", "warning"]
        return command + (["--worker-class", "gthread", "--threads", str(threads)] if threads > 1 else [])

    def __enter__(self) -> Self:
        self._mailbox.__enter__()
        until = time.monotonic() + self.patience
        while len(self.workers) < self._workers or self.browser().get("/counts").status != 200:
            if self._process.poll() is not None or time.monotonic() > until:
                log = (self.folder / "log").read_text()
                self.__exit__(None, None, None)
                raise RuntimeError(f"the server did not come up:\n{log}")
            time.sleep(0.02)
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _value: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.wait(self.patience)
        self._mailbox.__exit__()
        self._socket.close()
        self._log.close()
        self._folder.cleanup()

    @property
    def workers(self) -> list[int]:
        """The process ids of the workers that have come up."""
        return [int(path.name) for path in (self.folder / "workers").iterdir()]

    def browser(self) -> Browser:
        """Return a new browser on this server."""
        return Browser(self.port)

    def cpu(self) -> float:
        """Return the seconds of CPU that the workers have used so far."""
        return sum(time.clock_gettime(cpu_clock(pid)) for pid in self.workers)

    def memory(self) -> int:
        """Return the bytes of memory that the workers hold."""
        pages = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in self.workers)
        return pages * os.sysconf("SC_PAGE_SIZE")

    def counts(self) -> dict[str, int]:
        """Return the SQL statements so far: ``sql``, and ``sql_of_limits`` apart."""
        counts: dict[str, int] = json.loads(self.browser().get("/counts").body)
        return counts

    def mail(self, recipient: str) -> bytes:
        """Return the newest mail to an address.

        :raises RuntimeError: there is none.
        """
        if recipient not in self._mailbox.newest:
            raise RuntimeError("no mail came")
        return self._mailbox.newest[recipient]


def cpu_clock(pid: int) -> int:
    """Return the clock of the CPU time of another process."""
    # What clock_getcpuclockid(3) returns for another process, in nanoseconds where /proc/<pid>/stat has ticks of 10 ms.
    return (~pid << 3) | 2


def missing(*modules: str) -> bool:
    """Return whether one of the modules is not installed."""
    return any(importlib.util.find_spec(module) is None for module in modules)
