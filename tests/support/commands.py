"""The commands, run in this process or typed into a shell."""

from __future__ import annotations

import inspect
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result
from flask import Flask
from flask.testing import FlaskCliRunner


def runner(app: Flask) -> FlaskCliRunner:
    """Return what runs commands and keeps what they print apart from what they complain, as click does from 8.2 on."""
    mixed = "mix_stderr" in inspect.signature(CliRunner).parameters
    return app.test_cli_runner(**{"mix_stderr": False} if mixed else {})


def run(app: Flask, *arguments: str, **options: Any) -> Result:
    return runner(app).invoke(args=["chatbotkit-auth", *arguments], **options)


def told(app: Flask, *arguments: str, **options: Any) -> Any:
    """Return the JSON that a command prints."""
    result = run(app, *arguments, "--json", **options)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def failed(result: Result, sentence: str) -> bool:
    assert "Traceback" not in result.output
    assert re.search(sentence, result.stderr), result.output
    return result.exit_code == 1


def flask(*arguments: str, cwd: Path, **environment: str) -> subprocess.Popen[str]:
    """Start ``flask`` as a person does, in a folder of its own."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("FLASK_", "CHATBOTKIT_"))}
    return subprocess.Popen(
        [sys.executable, "-m", "flask", *arguments],
        cwd=cwd,
        env={**clean, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def findings(app: Flask, *options: str) -> dict[str, tuple[str, str]]:
    """Return what the doctor finds: state and text, by name."""
    result = run(app, "doctor", "--json", *options)
    found = {each["name"]: (each["state"], each["text"]) for each in json.loads(result.stdout)}
    assert result.exit_code == (1 if any(state == "failure" for state, _ in found.values()) else 0), result.output
    return found
