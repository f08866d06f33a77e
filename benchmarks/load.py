"""Under load: many connections to one page, many people signing in at once, and what memory does meanwhile.

``wrk`` is the client. The sandbox has a process of its own, and their CPU is told beside that of the workers.
"""

from __future__ import annotations

import os
import re
import resource
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import sqlalchemy as sa

from flask_chatbotkit_auth.testing import Sandbox

from . import growth
from .browser import NAVIGATION
from .journeys import CHATBOTKIT
from .report import milliseconds, show, skipped
from .sandboxes import sandbox_apart
from .servers import Server

WORKERS = 2
SECONDS = 2
SECONDS_SIGNING_IN = 5
ADDRESSES = 200
PEOPLE = 32
SCRIPT = Path(__file__).with_name("sign_in.lua")
SIGN_INS = int(os.environ.get("BENCHMARK_SIGN_INS", "250"))
"""For the last table; ``BENCHMARK_SIGN_INS=10000`` takes minutes."""

KINDS = {"sync": 1, "gthread": 16}
"""gunicorn's workers, and the threads of each."""


def run() -> None:
    """Print the tables."""
    with Sandbox() as sandbox:
        if shutil.which("wrk"):
            _pages(sandbox)
            _crowd()
        else:
            skipped("the page and sign-ins under load", "apt-get install wrk")
        _memory(sandbox)


def _pages(sandbox: Sandbox) -> None:
    rows = []
    settings = {"BENCHMARK_API": sandbox.url}
    for kind, threads in KINDS.items():
        with Server("chatbotkit", settings, workers=WORKERS, threads=threads) as server:
            cookie = CHATBOTKIT.go(server).cookie
            for connections in (16, 64, 256):
                rows.append([kind, str(connections), *_wrk(server.port, cookie, connections)])
    show(
        f"The protected page, {WORKERS} workers",
        ["workers", "connections", "pages a second", "half within", "99 % within", "errors"],
        rows,
    )


def _wrk(port: int, cookie: str, connections: int) -> list[str]:
    command = ["wrk", "-t", "2", "-c", str(connections), "-d", str(SECONDS), "--latency", "--timeout", "10"]
    command += ["-H", f"Cookie: {cookie}", f"http://127.0.0.1:{port}/page"]
    answer = subprocess.run(command, capture_output=True, text=True, check=True).stdout

    def find(pattern: str, default: str) -> str:
        found = re.search(pattern, answer, re.MULTILINE)
        return found[1] if found else default

    errors = find(r"Non-2xx or 3xx responses: (\d+)", "0"), find(r"Socket errors: (.*)", "no socket errors")
    percentiles = (find(rf"^ +{percent}% +(\S+)$", "–") for percent in (50, 99))
    return [find(r"Requests/sec:\s+(\S+)", "–"), *percentiles, f"{errors[0]}, {errors[1]}"]


def _crowd() -> None:
    rows = []
    for store, opened in STORES.items():
        try:
            with opened() as url:
                rows += [_signed_in(kind, store, url, clients) for kind in KINDS for clients in (8, 32)]
        except (ImportError, sa.exc.SQLAlchemyError) as error:
            skipped(
                f"sign-ins on {store} ({type(error).__name__})", f"start {store}, or see TEST_… in benchmarks/growth.py"
            )
    head = ["workers", "store", "clients", "sign-ins a second", "half within", "95 % within", "failed"]
    head += ["CPU a sign-in", "of the client", "of the sandbox", "as the workers' CPU allows"]
    show(f"People signing in at once, {WORKERS} workers", head, rows)


def _signed_in(kind: str, store: str, url: sa.URL | None, clients: int) -> list[str]:
    addresses = [f"person-{number}@example.com" for number in range(ADDRESSES)]
    with sandbox_apart(*addresses) as sandbox:
        settings = {"BENCHMARK_API": sandbox.url, "BENCHMARK_HOOK": "yes", "BENCHMARK_PROXY": "yes"}
        settings |= {"BENCHMARK_STORE": url.render_as_string(hide_password=False)} if url else {}
        with Server("chatbotkit", settings, workers=WORKERS, threads=KINDS[kind]) as server:
            sign_in_for(server.port, clients, 1)
            before = server.cpu(), sandbox.cpu()
            load = sign_in_for(server.port, clients, SECONDS_SIGNING_IN)
            ours, theirs = server.cpu() - before[0], sandbox.cpu() - before[1]
    count, waits = len(load.waits), sorted(load.waits)
    return [
        kind,
        store,
        str(clients),
        f"{count / load.seconds:.0f}",
        milliseconds(median(waits)),
        milliseconds(waits[int(count * 0.95)]),
        str(load.failed),
        milliseconds(ours / count),
        f"{load.cpu / (ours + theirs + load.cpu):.0%}",
        f"{theirs / (ours + theirs + load.cpu):.0%}",
        f"{WORKERS * count / ours:.0f}",
    ]


@dataclass(frozen=True)
class Load:
    """What wrk tells of the sign-ins it made."""

    seconds: float
    waits: list[float]
    failed: int
    cpu: float
    """Seconds that wrk used itself."""


def sign_in_for(port: int, clients: int, seconds: int) -> Load:
    """Have wrk sign people in for some seconds.

    :raises RuntimeError: nobody has arrived.
    """
    headers = [part for name, value in NAVIGATION.items() for part in ("-H", f"{name}: {value}")]
    command = ["wrk", "-t", "1", "-c", str(clients), "-d", str(seconds), "--timeout", "10", *headers]
    command += ["-s", str(SCRIPT), f"http://127.0.0.1:{port}/"]
    used, begun = _cpu_of_children(), time.perf_counter()
    answer = subprocess.run(
        command, capture_output=True, text=True, check=True, env={**os.environ, "BENCHMARK_PEOPLE": str(ADDRESSES)}
    ).stdout
    taken = time.perf_counter() - begun
    told = dict(line.partition(": ")[::2] for line in answer.splitlines())
    waits = [float(each) for each in told["taken"].split()]
    if not waits:
        raise RuntimeError(f"nobody was signed in within {seconds} seconds, and {told['failed']} answers were wrong")
    return Load(taken, waits, int(told["failed"]), _cpu_of_children() - used)


def _cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


STORES: Mapping[str, Callable[[], AbstractContextManager[sa.URL | None]]] = {
    "SQLite": nullcontext,
    "PostgreSQL": lambda: growth.database(growth.POSTGRESQL),
}


def _memory(sandbox: Sandbox) -> None:
    with Server("chatbotkit", {"BENCHMARK_API": sandbox.url}, threads=KINDS["gthread"]) as server:
        sizes = []
        errors = 0
        for part in range(5):
            errors += _sign_ins(server, SIGN_INS // 5, first=part * SIGN_INS)
            sizes.append(server.memory() / 1024**2)
    show(
        f"Memory of one worker over {SIGN_INS:,} sign-ins of as many new people",
        ["after a fifth", "two", "three", "four", "all", "errors"],
        [[*(f"{size:.1f} MB" for size in sizes), str(errors)]],
    )


def _sign_ins(server: Server, count: int, *, first: int) -> int:
    """Make so many sign-ins, :data:`PEOPLE` at a time; return how many failed."""

    def sign_in(number: int) -> bool:
        try:
            CHATBOTKIT.go(server, f"person-{first + number}@example.com")
        except (OSError, RuntimeError):
            return False
        return True

    with ThreadPoolExecutor(PEOPLE) as pool:
        return count - sum(pool.map(sign_in, range(count)))
