"""Under load: many connections to one page, many people signing in at once, and what memory does meanwhile."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from statistics import median

from flask_chatbotkit_auth.testing import Sandbox

from .journeys import CHATBOTKIT
from .report import milliseconds, show, skipped
from .servers import Server

WORKERS = 2
SECONDS = 2
PEOPLE = 32
SIGN_INS = int(os.environ.get("BENCHMARK_SIGN_INS", "250"))
"""For the last table; ``BENCHMARK_SIGN_INS=10000`` takes minutes."""

KINDS = {"sync": 1, "gthread": 16}
"""gunicorn's workers, and the threads of each."""


def run() -> None:
    """Print the tables."""
    with Sandbox() as sandbox:
        if shutil.which("wrk"):
            _pages(sandbox)
        else:
            skipped("the page under load", "apt-get install wrk")
        _crowd(sandbox)
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


def _crowd(sandbox: Sandbox) -> None:
    rows = []
    settings = {"BENCHMARK_API": sandbox.url}
    for kind, threads in KINDS.items():
        for latency in (0.0, 0.05):
            with Server("chatbotkit", settings, workers=WORKERS, threads=threads) as server:
                sandbox.latency = latency
                begun = time.perf_counter()
                waits, errors = _sign_ins(server, 3 * PEOPLE)
                taken = time.perf_counter() - begun
                sandbox.latency = 0.0
            slowest = sorted(waits)[int(len(waits) * 0.95)]
            rows.append(
                [
                    kind,
                    milliseconds(latency),
                    f"{len(waits) / taken:.0f}",
                    milliseconds(median(waits)),
                    milliseconds(slowest),
                    str(errors),
                ]
            )
    show(
        f"{PEOPLE} people signing in at once, {WORKERS} workers",
        ["workers", "latency of the API", "sign-ins a second", "half within", "95 % within", "errors"],
        rows,
    )


def _memory(sandbox: Sandbox) -> None:
    with Server("chatbotkit", {"BENCHMARK_API": sandbox.url}, threads=KINDS["gthread"]) as server:
        sizes = []
        errors = 0
        for part in range(5):
            errors += _sign_ins(server, SIGN_INS // 5, first=part * SIGN_INS)[1]
            sizes.append(server.memory() / 1024**2)
    show(
        f"Memory of one worker over {SIGN_INS:,} sign-ins of as many new people",
        ["after a fifth", "two", "three", "four", "all", "errors"],
        [[*(f"{size:.1f} MB" for size in sizes), str(errors)]],
    )


def _sign_ins(server: Server, count: int, *, first: int = 0) -> tuple[list[float], int]:
    """Return how long each of so many sign-ins took, and how many failed; :data:`PEOPLE` at a time."""

    def sign_in(number: int) -> float | None:
        begun = time.perf_counter()
        try:
            CHATBOTKIT.go(server, f"person-{first + number}@example.com")
        except (OSError, RuntimeError):
            return None
        return time.perf_counter() - begun

    with ThreadPoolExecutor(PEOPLE) as pool:
        taken = list(pool.map(sign_in, range(count)))
    waits = [each for each in taken if each is not None]
    return waits or [0.0], count - len(waits)
