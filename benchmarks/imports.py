"""Importing the package, and what it adds to a process, over what an application has imported anyway."""

from __future__ import annotations

import compileall
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import flask_chatbotkit_auth

from .report import in_turns, milliseconds, show, spread

ROUNDS = 7

NEIGHBOURS = "import flask, flask_login, flask_wtf, flask_mail, sqlalchemy, requests"
STEPS = {
    "import flask_chatbotkit_auth": ("import flask_chatbotkit_auth", "≤ 60 ms"),
    "the same, and one application on SQLite": (
        "from flask_chatbotkit_auth import ChatBotKitAuth; app = flask.Flask('app'); "
        "app.config.update(SECRET_KEY='x', CHATBOTKIT_API_SECRET='sk-test'); ChatBotKitAuth(app)",
        "–",
    ),
    "part of that: the limits library": ("import limits, limits.strategies", "–"),
    "part of that: SQLAlchemy's SQLite": ("import sqlalchemy.dialects.sqlite", "–"),
}
PROGRAM = """
import time
{neighbours}
def memory():
    with open("/proc/self/statm") as pages:
        return int(pages.read().split()[1]) * 4096
begun, before = time.process_time(), memory()
{step}
print(time.process_time() - begun, memory() - before)
"""


def run() -> None:
    """Print the table."""
    # As an installed package is: else a checkout that may not write its bytecode compiles it anew each time.
    compileall.compile_dir(Path(flask_chatbotkit_auth.__file__).parent, quiet=1)
    memory: dict[str, float] = {}
    contenders: dict[str, Callable[[], float]] = {
        name: partial(_measure, name, step, memory) for name, (step, _) in STEPS.items()
    }
    samples = in_turns(contenders, ROUNDS)
    show(
        "Importing, over flask, flask_login, flask_wtf, flask_mail, sqlalchemy and requests",
        ["", "CPU", "memory", "aim"],
        [
            [name, spread(values, milliseconds), f"{memory[name] / 1024**2:.1f} MB", STEPS[name][1]]
            for name, values in samples.items()
        ],
    )


def _measure(name: str, step: str, memory: dict[str, float]) -> float:
    program = PROGRAM.format(neighbours=NEIGHBOURS, step=step)
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    seconds, held = answer.split()
    memory[name] = min(memory.get(name, float("inf")), float(held))
    return float(seconds)
