"""The sandbox in a process of its own, whose CPU is not that of what is measured."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection

from flask_chatbotkit_auth.testing import Sandbox

from .servers import cpu_clock


class Apart:
    """A sandbox that runs elsewhere."""

    def __init__(self, url: str, pid: int) -> None:
        self.url = url
        self._clock = cpu_clock(pid)

    def cpu(self) -> float:
        """Return the seconds of CPU that it has used so far."""
        return time.clock_gettime(self._clock)


@contextmanager
def sandbox_apart(*addresses: str, latency: float = 0.0) -> Iterator[Apart]:
    """Serve a sandbox with an account for each address.

    :param latency: seconds that each of its answers takes.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, addresses, latency), daemon=True)
    process.start()
    assert process.pid is not None
    try:
        yield Apart(ours.recv(), process.pid)
    finally:
        ours.send("enough")
        process.join(10)


def _serve(pipe: Connection, addresses: tuple[str, ...], latency: float) -> None:
    with Sandbox() as sandbox:
        for address in addresses:
            sandbox.add_user(address, name="Ada", meta={"verifiedAt": 1})
        sandbox.latency = latency
        pipe.send(sandbox.url)
        pipe.recv()
