"""Importing the package, and what it adds to a process, over what an application has imported anyway."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from functools import partial

from .report import in_turns, milliseconds, show, spread

ROUNDS = 11

NEIGHBOURS = "import flask, flask_login, flask_wtf, flask_mail, sqlalchemy, requests"
STEPS = {
    "import": ("import flask_chatbotkit_auth", "≤ 60 ms"),
    "import of limits, in it": ("import limits, limits.strategies", "–"),
    "import, and one application on SQLite": (
        "from flask_chatbotkit_auth import ChatBotKitAuth; app = flask.Flask('app'); "
        "app.config.update(SECRET_KEY='x', CHATBOTKIT_API_SECRET='sk-test'); ChatBotKitAuth(app)",
        "–",
    ),
}
PROGRAM = """
import resource, time
{neighbours}
begun, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
{step}
print(time.process_time() - begun, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def run() -> None:
    """Print the table."""
    memory: dict[str, float] = {}
    contenders: dict[str, Callable[[], float]] = {
        name: partial(_measure, name, step, memory) for name, (step, _) in STEPS.items()
    }
    samples = in_turns(contenders, ROUNDS)
    show(
        f"Over {NEIGHBOURS}",
        ["", "CPU", "memory", "aim"],
        [
            [name, spread(values, milliseconds), f"{memory[name] / 1024:.1f} MB", STEPS[name][1]]
            for name, values in samples.items()
        ],
    )


def _measure(name: str, step: str, memory: dict[str, float]) -> float:
    program = PROGRAM.format(neighbours=NEIGHBOURS, step=step)
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    seconds, kilobytes = answer.split()
    memory[name] = min(memory.get(name, float("inf")), float(kilobytes))
    return float(seconds)
