"""The API client: one call, against plain requests and against urllib3 alone."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import requests
import urllib3

from flask_chatbotkit_auth import ChatBotKitClient

from .report import compare, in_turns, milliseconds, show
from .sandboxes import sandbox_apart

CALLS = 100
ROUNDS = 15

BASELINE = "requests, one session"
AIMS = {"this": "≤ 1.00×"}


def run() -> None:
    """Print the table."""
    with sandbox_apart("ada@example.com") as sandbox:
        client = ChatBotKitClient("sk-test", sandbox.url)
        headers = {"Authorization": "Bearer sk-test", "Accept": "application/json"}
        address = f"{sandbox.url}/api/v1/user/list?email=ada%40example.com"
        session = requests.Session()
        pool = urllib3.PoolManager()
        contenders: dict[str, Callable[[], object]] = {
            BASELINE: lambda: session.get(address, headers=headers, timeout=10).json(),
            "urllib3, one pool": lambda: pool.request("GET", address, headers=headers, timeout=10).json(),
            "this": lambda: client.get("/user/list", {"email": "ada@example.com"}),
        }
        samples = in_turns({name: partial(_cpu, call) for name, call in contenders.items()}, ROUNDS)
    show(
        "A call to the API: CPU of the caller",
        ["", "CPU", "of requests'", "aim"],
        compare(samples, BASELINE, milliseconds, AIMS),
    )


def _cpu(call: Callable[[], object]) -> float:
    begun = time.process_time()
    for _ in range(CALLS):
        call()
    return (time.process_time() - begun) / CALLS
